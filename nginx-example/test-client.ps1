# Connects to the running server in the ways it is made for, and counts what the HSM was asked, by the provider's log. The last line
# is "N passed, N failed, N skipped".
$here = $PSScriptRoot
. (Join-Path $here 'hsm.ps1')

Assert-Programs 'openssl', $curl
if (-not (Get-Running (Join-Path $run 'nginx.pid') nginx)) {
    Stop-Example "nginx doesn't run: .\start-server.ps1 starts it."
}
$ca = Join-Path $run 'ca.crt'
$passed = 0
$failed = 0

function Write-Result([bool] $IsGood, [string] $Title, [string] $Detail) {
    if ($IsGood) {
        $script:passed++
        Write-Output ('ok      {0,-64} {1}' -f $Title, $Detail)
    } else {
        $script:failed++
        Write-Output ('FAILED  {0,-64} {1}' -f $Title, $Detail)
    }
}

function Get-Total { return (Get-SignatureCount $settings.RSA_KEY) + (Get-SignatureCount $settings.EC_KEY) }

# What a client says that ends at once.
function Connect-Client {
    $arguments = @('s_client', '-servername', 'localhost', '-CAfile', $ca, '-verify_return_error', '-verify_hostname', 'localhost') + $args
    return ('' | & openssl @arguments 2>&1 | Out-String)
}

# A full handshake, which must take one signature, with the right key: Test-Handshake PORT VERSION SIGNATURE_ALGORITHM KEY
function Test-Handshake([string] $Port, [string] $Version, [string] $Algorithm, [string] $Key) {
    $before = Get-SignatureCount $Key
    $said = Connect-Client -connect "127.0.0.1:$Port" "-tls$($Version.Replace('.', '_'))" -sigalgs $Algorithm
    $isSecure = $said -match "(?m)^New, TLSv$([regex]::Escape($Version)), Cipher is" -and $said -match '(?m)^Verification: OK'
    $isSigned = Wait-Until 5 { (Get-SignatureCount $Key) -gt $before }
    $count = (Get-SignatureCount $Key) - $before
    Write-Result ($isSecure -and $isSigned -and $count -eq 1) "port $Port, TLS $Version, $Algorithm" "$count signatures with $Key"
}

# A handshake that must fail, without a signature: Test-Refused TITLE PORT OPTION…
function Test-Refused {
    $title, $port, $options = $args
    $before = Get-Total
    $said = Connect-Client -connect "127.0.0.1:$port" @options
    $isRefused = $said -match 'alert' -and $said -notmatch '(?m)^Verification: OK'
    Write-Result ($isRefused -and (Get-Total) -eq $before) "port $port refuses $title" 'no signature'
}

function Test-Page([string] $Port, [string] $Path, [string] $Pattern) {
    $said = Get-Output $curl --silent --show-error --fail --max-time 30 --cacert $ca "https://localhost:$Port$Path"
    $line = ($said -split "`n")[0].Trim()
    Write-Result ($said -match $Pattern) "port $Port, curl, $Path" $line
}

# One full handshake, then one with its session: together they take one signature.
function Test-Resumption([string] $Port, [string] $Version) {
    $before = Get-Total
    $session = Join-Path $run 'session'
    $flag = "-tls$($Version.Replace('.', '_'))"
    $request = "GET /info HTTP/1.1`r`nHost: localhost`r`nConnection: close`r`n"
    $common = @('s_client', '-servername', 'localhost', '-CAfile', $ca, '-connect', "127.0.0.1:$Port", $flag, '-ign_eof')
    $request | & openssl @common -sess_out $session 2>&1 | Out-Null
    $said = $request | & openssl @common -sess_in $session 2>&1 | Out-String
    $isSigned = Wait-Until 5 { (Get-Total) -gt $before }
    $count = (Get-Total) - $before
    $isResumed = $said -match '(?m)^Reused, ' -and $said -match '"resumed": "r"'
    Write-Result ($isResumed -and $isSigned -and $count -eq 1) "port $Port, TLS $Version, session resumed" "two connections, $count signatures"
}

$ErrorActionPreference = 'Continue'
foreach ($port in $settings.RSA_PORT, $settings.BOTH_PORT) {
    foreach ($bits in 256, 384, 512) {
        Test-Handshake $port 1.2 "RSA+SHA$bits" $settings.RSA_KEY
        Test-Handshake $port 1.2 "rsa_pss_rsae_sha$bits" $settings.RSA_KEY
        Test-Handshake $port 1.3 "rsa_pss_rsae_sha$bits" $settings.RSA_KEY
    }
}
foreach ($port in $settings.EC_PORT, $settings.BOTH_PORT) {
    foreach ($bits in 256, 384, 512) {
        Test-Handshake $port 1.2 "ECDSA+SHA$bits" $settings.EC_KEY
    }
    # TLS 1.3 ties the hash to the curve.
    Test-Handshake $port 1.3 'ECDSA+SHA256' $settings.EC_KEY
}
foreach ($port in $settings.RSA_PORT, $settings.EC_PORT, $settings.BOTH_PORT) {
    Test-Page $port / '(?m)^Hello from nginx with '
    Test-Page $port /health '"status": "healthy"'
    Test-Page $port /info '"nginx": "'
    foreach ($version in '1.2', '1.3') {
        Test-Resumption $port $version
    }
}
Test-Refused 'TLS 1.1' $settings.RSA_PORT '-tls1_1' -cipher 'DEFAULT@SECLEVEL=0'
Test-Refused 'RSA key exchange' $settings.RSA_PORT '-tls1_2' -cipher kRSA
Test-Refused 'RSA signatures' $settings.EC_PORT -sigalgs 'RSA+SHA256:rsa_pss_rsae_sha256'
Test-Refused 'ECDSA signatures' $settings.RSA_PORT -sigalgs 'ECDSA+SHA256'

Write-Output "$passed passed, $failed failed, 0 skipped"
if ($failed -gt 0) {
    exit 1
}
