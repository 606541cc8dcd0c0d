# What the scripts of grpc-example share on Windows, besides nginx-example\hsm.ps1. Dot-sourced, not run, after $here is set.
#
# Neither nginx nor gRPC's libraries have Unix sockets on Windows: programs and sidecars speak over two ports of the loopback, which any
# user of the machine can open. Client and server are the ones in Python; the ones in Rust need Unix.

. (Join-Path (Split-Path -Parent $here) 'nginx-example' | Join-Path -ChildPath 'hsm.ps1')
$serverAddress = '127.0.0.1:{0}' -f $(if ($env:SERVER_PORT) { $env:SERVER_PORT } else { '9445' })
$clientAddress = '127.0.0.1:{0}' -f $(if ($env:CLIENT_PORT) { $env:CLIENT_PORT } else { '9446' })

# Sets $python to an interpreter with grpcio, and makes the code of greeter.proto.
function Initialize-Python {
    $folder = Join-Path $run 'python'
    $script:python = if ($onWindows) { Join-Path $folder 'Scripts\python.exe' } else { Join-Path $folder 'bin/python' }
    if (-not (Test-Path -LiteralPath $python)) {
        Assert-Programs $(if ($onWindows) { 'py' } else { 'python3' })
        Invoke-Program $(if ($onWindows) { 'py' } else { 'python3' }) -m venv $folder
        Invoke-Program $python -m pip install --quiet --requirement (Join-Path $here 'python' | Join-Path -ChildPath 'requirements.txt')
    }
    $generated = Join-Path $run 'generated'
    New-Item -ItemType Directory -Force -Path $generated | Out-Null
    $proto = Join-Path $here 'proto'
    Invoke-Program $python -m grpc_tools.protoc --proto_path $proto --python_out $generated --grpc_python_out $generated `
        (Join-Path $proto 'greeter.proto')
    $env:PYTHONPATH = $generated
}

function Test-Port([string] $Address) {
    $name, $port = $Address -split ':'
    $client = New-Object Net.Sockets.TcpClient
    try {
        $client.Connect($name, [int] $port)
        return $true
    } catch {
        return $false
    } finally {
        $client.Dispose()
    }
}

# Starts the gRPC server in the background and notes it.
function Start-Greeter {
    $server = Join-Path $here 'python' | Join-Path -ChildPath 'server.py'
    $process = Start-Process -FilePath $python -ArgumentList "`"$server`"", $serverAddress -PassThru `
        -RedirectStandardOutput (Join-Path $run 'greeter.log') -RedirectStandardError (Join-Path $run 'greeter-error.log')
    Write-Text (Join-Path $run 'greeter.pid') $process.Id
    if (-not (Wait-Until 20 { Test-Port $serverAddress })) {
        Get-Content -LiteralPath (Join-Path $run 'greeter-error.log') -Tail 3
        Stop-Example 'The gRPC server did not start.'
    }
}

# The client's sidecar, with a certificate or without: Write-ClientSidecar NAME ADDRESS CERTIFICATE_DIRECTIVES
function Write-ClientSidecar([string] $Name, [string] $Address, [string] $Certificate) {
    Expand-Template (Join-Path $here 'client-sidecar.conf.in') (Join-Path $run "$Name.conf") @{
        run = $run.Replace('\', '/'); user = ''; name = $Name; address = $Address; certificate = $Certificate
        listen = $settings.LISTEN; tls_port = $settings.TLS_PORT
    }
}

# What a sidecar shows of itself: the certificate of a name, with the client's key.
function Get-CertificateDirectives([string] $Name) {
    $folder = $run.Replace('\', '/')
    $key = Get-NginxKey (Join-Path $run 'client.key')
    return "grpc_ssl_certificate `"$folder/$Name.crt`"; grpc_ssl_certificate_key `"$key`";"
}
