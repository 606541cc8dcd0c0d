# Makes a CA and the certificates of both sidecars. All keys are in the HSM, the CA's too, and the HSM signs everything.
$here = $PSScriptRoot
. (Join-Path $here 'grpc.ps1')

Assert-Programs $nginx, 'openssl'
Connect-Hsm
foreach ($key in $settings.CA_KEY, $settings.SERVER_KEY, $settings.CLIENT_KEY) {
    Assert-Key $key ec
}
$caKey = Join-Path $run 'ca.key'
$serverKey = Join-Path $run 'server.key'
$clientKey = Join-Path $run 'client.key'
$ca = Join-Path $run 'ca.crt'
$server = Join-Path $run 'server.crt'
$client = Join-Path $run 'client.crt'
Write-KeyFile $settings.CA_KEY $caKey
Write-KeyFile $settings.SERVER_KEY $serverKey
Write-KeyFile $settings.CLIENT_KEY $clientKey
New-Ca $caKey 'gRPC Demo CA' $ca
New-Certificate $serverKey '/O=Azure HSM Demo/CN=localhost' @(
    'extendedKeyUsage=serverAuth', 'subjectAltName=DNS:localhost,IP:127.0.0.1'
) $caKey $ca $server
New-Certificate $clientKey '/O=Azure HSM Demo/CN=greeter-client' @('extendedKeyUsage=clientAuth') $caKey $ca $client
Invoke-Program openssl verify -purpose sslserver -CAfile $ca -verify_hostname localhost $server
Invoke-Program openssl verify -purpose sslclient -CAfile $ca $client

# One that the server must refuse: by a CA that it doesn't know.
$foreignCa = Join-Path $run 'foreign-ca.crt'
New-Ca $clientKey 'Another CA' $foreignCa
New-Certificate $clientKey '/O=Azure HSM Demo/CN=foreign' @('extendedKeyUsage=clientAuth') $clientKey $foreignCa (Join-Path $run 'foreign.crt')
