# Stops the sidecars and the gRPC server. Certificates and logs stay in run\; .\cleanup.ps1 removes them.
$here = $PSScriptRoot
. (Join-Path $here 'grpc.ps1')

foreach ($name in 'client-sidecar', 'server-sidecar') {
    Stop-Nginx (Join-Path $run "$name.conf") (Join-Path $run "$name-error.log") (Join-Path $run "$name.pid") | Out-Null
}
$greeter = Get-Running (Join-Path $run 'greeter.pid') python
if ($greeter) {
    # Where python.exe of the environment is only what starts the interpreter, that ends with it or is ended here.
    $greeter | Stop-Process -Force
}
Remove-Item -LiteralPath (Join-Path $run 'greeter.pid') -ErrorAction SilentlyContinue
Write-Output 'The sidecars and the gRPC server are stopped.'
