# Makes the CA's certificate, and the servers' that it signs. The HSM signs all of them.
$here = $PSScriptRoot
. (Join-Path $here 'hsm.ps1')

Assert-Programs openssl
Connect-Hsm
$caKey = Join-Path $run 'ca.key'
$ca = Join-Path $run 'ca.crt'
Write-KeyFile $settings.CA_KEY $caKey
New-Ca $caKey 'Azure HSM Demo CA' $ca
foreach ($name in 'rsa', 'ec') {
    $key = if ($name -eq 'rsa') { $settings.RSA_KEY } else { $settings.EC_KEY }
    $keyFile = Join-Path $run "$name.key"
    $certificate = Join-Path $run "$name.crt"
    Write-KeyFile $key $keyFile
    New-Certificate $keyFile '/C=US/ST=Washington/L=Redmond/O=Azure HSM Demo/CN=localhost' @(
        'extendedKeyUsage=serverAuth', 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1'
    ) $caKey $ca $certificate
    # Plain OpenSSL, without the provider, is the judge.
    Invoke-Program openssl verify -CAfile $ca -verify_hostname localhost $certificate
}
Write-Output "The HSM signed the CA's certificate, and one for each server, with $($settings.CA_KEY); the requests with $($settings.RSA_KEY) and $($settings.EC_KEY)."
