# Starts the gRPC server and both sidecars: client -> loopback -> nginx = mutual TLS = nginx -> loopback -> server.
$here = $PSScriptRoot
. (Join-Path $here 'grpc.ps1')

Assert-Programs $nginx
if (-not (Test-Path -LiteralPath (Join-Path $run 'server.crt'))) {
    Stop-Example 'There are no certificates: run .\generate-certs.ps1 first.'
}
if (Get-Running (Join-Path $run 'server-sidecar.pid') nginx) {
    Stop-Example 'The demo runs already: .\stop-demo.ps1 stops it.'
}
Connect-Hsm
Initialize-Python
New-Item -ItemType Directory -Force -Path (Join-Path $run 'tmp') | Out-Null
Start-Greeter

Expand-Template (Join-Path $here 'server-sidecar.conf.in') (Join-Path $run 'server-sidecar.conf') @{
    run = $run.Replace('\', '/'); user = ''; listen = $settings.LISTEN; tls_port = $settings.TLS_PORT
    address = $serverAddress; server_key = Get-NginxKey (Join-Path $run 'server.key')
}
Write-ClientSidecar client-sidecar $clientAddress (Get-CertificateDirectives client)
foreach ($name in 'server-sidecar', 'client-sidecar') {
    Start-Nginx (Join-Path $run "$name.conf") (Join-Path $run "$name-error.log")
}
foreach ($address in "127.0.0.1:$($settings.TLS_PORT)", $clientAddress) {
    if (-not (Wait-Until 30 { Test-Port $address })) {
        Stop-Example "No sidecar answers at $address."
    }
}
Write-Output "gRPC server:       $serverAddress (Python)"
Write-Output "server's sidecar:  $($settings.LISTEN):$($settings.TLS_PORT), mutual TLS, key $($settings.SERVER_KEY) in the HSM"
Write-Output "client's sidecar:  $clientAddress, key $($settings.CLIENT_KEY) in the HSM"
Write-Output 'Try: .\run-client.ps1'
