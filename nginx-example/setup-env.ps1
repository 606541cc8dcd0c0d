# Makes .env, checks what is needed, and makes sure that the HSM has the keys.
$here = $PSScriptRoot
if (-not (Test-Path -LiteralPath (Join-Path $here '.env'))) {
    Copy-Item -LiteralPath (Join-Path $here '.env.example') -Destination (Join-Path $here '.env')
    Write-Output 'Made .env: name your HSM and its keys in it.'
}
. (Join-Path $here 'hsm.ps1')

Assert-Programs $nginx, 'openssl', $curl
Connect-Hsm
Assert-Key $settings.RSA_KEY rsa
Assert-Key $settings.EC_KEY ec
Assert-Key $settings.CA_KEY ec

Write-Output "nginx:    $(Get-NginxVersion)"
Write-Output "OpenSSL:  $((Get-Output openssl version).Split(' ')[1])"
Write-Output "provider: $module"
if (Test-Emulator) {
    Write-Output "HSM:      an emulator, not an HSM, at $env:AZURE_MANAGEDHSM_URL"
} else {
    Write-Output "HSM:      $hsm"
}
Write-Output "keys:     $($settings.RSA_KEY), $($settings.EC_KEY), $($settings.CA_KEY)"
