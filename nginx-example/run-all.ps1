# From set-up to clean-up in one go.
$here = $PSScriptRoot
$status = 0
foreach ($script in 'setup-env.ps1', 'generate-cert.ps1', 'start-server.ps1', 'test-client.ps1') {
    Write-Output "`n=== $script"
    $global:LASTEXITCODE = 0
    & (Join-Path $here $script)
    if ($LASTEXITCODE -ne 0) {
        $status = 1
        break
    }
}
Write-Output "`n=== cleanup.ps1"
& (Join-Path $here 'cleanup.ps1')
exit $status
