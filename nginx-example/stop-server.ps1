# Stops nginx. Keys and certificates stay.
$here = $PSScriptRoot
. (Join-Path $here 'hsm.ps1')

if (Stop-Nginx (Join-Path $run 'nginx.conf') (Join-Path $run 'nginx-error.log') (Join-Path $run 'nginx.pid')) {
    Write-Output 'nginx is stopped.'
} else {
    Write-Output 'nginx did not run.'
}
