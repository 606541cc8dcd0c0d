# Calls the server in all four kinds of gRPC call through the mutual TLS of the sidecars; then tries clients that the server must
# refuse. The last line is "N passed, N failed, N skipped".
$here = $PSScriptRoot
. (Join-Path $here 'grpc.ps1')

if (-not (Get-Running (Join-Path $run 'server-sidecar.pid') nginx)) {
    Stop-Example "The demo doesn't run: .\start-demo.ps1 starts it."
}
Initialize-Python
$client = Join-Path $here 'python' | Join-Path -ChildPath 'client.py'
$passed = 0
$failed = 0

function Write-Result([bool] $IsGood, [string] $Title, [string] $Detail) {
    if ($IsGood) {
        $script:passed++
        Write-Output "ok       $Title"
    } else {
        $script:failed++
        Write-Output "FAILED   $Title"
    }
    Write-Output $Detail
}

# A client that must not come through: Test-Refused NAME CERTIFICATE_DIRECTIVES WORDS
function Test-Refused([string] $Name, [string] $Certificate, [string] $Words) {
    $address = '127.0.0.1:{0}' -f $(if ($env:REFUSED_PORT) { $env:REFUSED_PORT } else { '9447' })
    $configuration = Join-Path $run "$Name.conf"
    $log = Join-Path $run "$Name-error.log"
    Write-ClientSidecar $Name $address $Certificate
    Start-Nginx $configuration $log
    $isUp = Wait-Until 20 { Test-Port $address }
    $said = Get-Output $python $client $address
    $isRefused = $LASTEXITCODE -ne 0 -and $said -match 'UNAUTHENTICATED: the client certificate is missing or not accepted'
    Stop-Nginx $configuration $log (Join-Path $run "$Name.pid") | Out-Null
    $reason = Select-String -LiteralPath (Join-Path $run 'server-sidecar-error.log') -Pattern $Words | Select-Object -Last 1
    Write-Result ($isUp -and $isRefused -and [bool] $reason) "refused: $Name" $said
}

$ErrorActionPreference = 'Continue'
$before = (Get-SignatureCount $settings.SERVER_KEY), (Get-SignatureCount $settings.CLIENT_KEY)
$said = Get-Output $python $client $clientAddress
Write-Result ($LASTEXITCODE -eq 0) 'Python client, Python server' $said
$isSigned = Wait-Until 5 {
    (Get-SignatureCount $settings.SERVER_KEY) -gt $before[0] -and (Get-SignatureCount $settings.CLIENT_KEY) -gt $before[1]
}
Write-Result $isSigned 'the HSM signed for both sides of the handshake' ''
Test-Refused without '' 'client sent no required SSL certificate'
Test-Refused foreign (Get-CertificateDirectives foreign) 'unable to get local issuer certificate|unable to verify'

Write-Output "$passed passed, $failed failed, 0 skipped"
if ($failed -gt 0) {
    exit 1
}
