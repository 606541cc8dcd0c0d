# Starts nginx with the HSM's keys, in the background.
$here = $PSScriptRoot
. (Join-Path $here 'hsm.ps1')

Assert-Programs $nginx, $curl
foreach ($name in 'rsa.crt', 'ec.crt') {
    if (-not (Test-Path -LiteralPath (Join-Path $run $name))) {
        Stop-Example 'There are no certificates: run .\generate-cert.ps1 first.'
    }
}
if (Get-Running (Join-Path $run 'nginx.pid') nginx) {
    Stop-Example 'nginx runs already: .\stop-server.ps1 stops it.'
}
Connect-Hsm

$title = if (Test-Emulator) { 'an emulated Azure Managed HSM' } else { 'Azure Managed HSM' }
$rsaKey = Get-NginxKey (Join-Path $run 'rsa.key')
$keyForm = if ($rsaKey.StartsWith('store:')) { 'store: URI' } else { 'key file' }
New-Item -ItemType Directory -Force -Path (Join-Path $run 'tmp') | Out-Null
Expand-Template (Join-Path $here 'locations.conf.in') (Join-Path $run 'locations.conf') @{
    hsm_title = $title; key_form = $keyForm; ca_name = $settings.CA_KEY
}
$configuration = Join-Path $run 'nginx.conf'
$log = Join-Path $run 'nginx-error.log'
Expand-Template (Join-Path $here 'nginx.conf.in') $configuration @{
    run = $run.Replace('\', '/'); user = ''; listen = $settings.LISTEN
    rsa_name = $settings.RSA_KEY; ec_name = $settings.EC_KEY; rsa_key = $rsaKey; ec_key = Get-NginxKey (Join-Path $run 'ec.key')
    rsa_port = $settings.RSA_PORT; ec_port = $settings.EC_PORT; both_port = $settings.BOTH_PORT
}
Start-Nginx $configuration $log

foreach ($port in $settings.RSA_PORT, $settings.EC_PORT, $settings.BOTH_PORT) {
    $answers = {
        Get-Output $curl --silent --fail --max-time 10 --cacert (Join-Path $run 'ca.crt') "https://localhost:$port/health" | Out-Null
        $LASTEXITCODE -eq 0
    }
    if (-not (Wait-Until 30 $answers)) {
        Get-Content -LiteralPath $log -Tail 20
        Stop-Example "nginx does not answer at port $port."
    }
}
Write-Output "nginx $(Get-NginxVersion) runs; its keys are given by ${keyForm}:"
Write-Output "  https://localhost:$($settings.RSA_PORT)/  RSA"
Write-Output "  https://localhost:$($settings.EC_PORT)/  EC"
Write-Output "  https://localhost:$($settings.BOTH_PORT)/  both"
Write-Output "Try: curl --cacert $(Join-Path $run 'ca.crt') https://localhost:$($settings.RSA_PORT)/"
