# Stops what runs and removes all that the scripts made. Your .env and your HSM stay.
$here = $PSScriptRoot
& (Join-Path $here 'stop-server.ps1')
. (Join-Path $here 'hsm.ps1')

if (Test-Path -LiteralPath $run) {
    Remove-Item -LiteralPath $run -Recurse -Force
}
Write-Output "Removed $run."
