# What the scripts of nginx-example and grpc-example share on Windows, as hsm.sh does on Linux: settings, the provider, certificates,
# nginx. Dot-sourced, not run, after $here (the example's folder) is set. What the scripts make lies in $run, the folder run\ of the
# example.

Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'
$repository = Split-Path -Parent $PSScriptRoot
$run = if ($env:RUN_DIR) { $env:RUN_DIR } else { Join-Path $here 'run' }

function Stop-Example([string] $Message) {
    [Console]::Error.WriteLine($Message)
    exit 1
}

# On another system than Windows these scripts are tried only: programs and modules have other names there.
$onWindows = $env:OS -eq 'Windows_NT'
# Windows PowerShell has a command of its own that is called curl.
$curl = if ($onWindows) { 'curl.exe' } else { 'curl' }

# Lines NAME=VALUE and NAME=${NAME:-VALUE}, as hsm.sh reads them, but without commands in values. .env.example has the defaults. How to
# log in (AZURE_…, AKV_…) goes to the environment of programs, too.
$settings = @{}
function Read-Settings([string] $File) {
    foreach ($line in Get-Content -LiteralPath $File -Encoding UTF8) {
        if ($line -notmatch '^\s*([A-Za-z_][A-Za-z0-9_]*)=(.*)$' -or $settings.ContainsKey($Matches[1])) {
            continue
        }
        $name = $Matches[1]
        $value = $Matches[2].Trim()
        if ($value -match '^\$\{[A-Za-z_][A-Za-z0-9_]*:-(.*)\}$') {
            $set = [Environment]::GetEnvironmentVariable($name)
            $value = if ($set) { $set } else { $Matches[1] }
        }
        $settings[$name] = $value.Trim([char]34, [char]39)
        if ($name -match '^(AZURE|AKV)_') {
            [Environment]::SetEnvironmentVariable($name, $settings[$name])
        }
    }
}
foreach ($name in '.env', '.env.example') {
    $file = Join-Path $here $name
    if (Test-Path -LiteralPath $file) {
        Read-Settings $file
    }
}
$nginx = if ($env:NGINX) { $env:NGINX } else { 'nginx' }
$hsm = if ($settings.HSM_NAME) { $settings.HSM_NAME } else { 'MyHSM' }

# Waits until a block gives something true: Wait-Until SECONDS BLOCK
function Wait-Until([int] $Seconds, [scriptblock] $Condition) {
    $deadline = (Get-Date).AddSeconds($Seconds)
    while (-not (& $Condition)) {
        if ((Get-Date) -ge $deadline) {
            return $false
        }
        Start-Sleep -Milliseconds 100
    }
    return $true
}

# --- programs ---------------------------------------------------------------------------------------------------------

function Assert-Programs([string[]] $Names) {
    foreach ($name in $Names) {
        if (-not (Get-Command $name -CommandType Application -ErrorAction SilentlyContinue)) {
            Stop-Example "$name was not found: install it and put its folder on the PATH."
        }
    }
}

# Runs a program, and ends the script if that fails: Invoke-Program NAME ARGUMENT…
function Invoke-Program {
    $name, $arguments = $args
    & $name @arguments
    if ($LASTEXITCODE -ne 0) {
        Stop-Example "$name $arguments failed with exit status $LASTEXITCODE."
    }
}

# Runs a program for what it prints, errors too; nothing is thrown: Get-Output NAME ARGUMENT…
function Get-Output {
    $name, $arguments = $args
    # Older versions make errors of what a program writes to standard error.
    $ErrorActionPreference = 'Continue'
    return (& $name @arguments 2>&1 | Out-String)
}

# Runs a program with the provider: Invoke-WithHsm NAME ARGUMENT…
function Invoke-WithHsm {
    $before = $env:OPENSSL_CONF
    $env:OPENSSL_CONF = Join-Path $run 'openssl.cnf'
    try {
        Invoke-Program @args
    } finally {
        $env:OPENSSL_CONF = $before
    }
}

# Sets $module (the provider) and $akv to what winbuild.bat has built.
function Find-Programs {
    $target = if ($env:CARGO_TARGET_DIR) { $env:CARGO_TARGET_DIR } else { Join-Path $repository 'target' }
    $modules = if ($onWindows) { 'release\akv_provider.dll', 'debug\akv_provider.dll' } else { , 'shipped/release/libakv_provider.so' }
    $programs = if ($onWindows) { 'release\akv.exe', 'debug\akv.exe' } else { 'shipped/release/akv', 'release/akv', 'debug/akv' }
    $script:module = Find-File $target $modules
    $script:akv = Find-File $target $programs
}

# The first of some files that is there: Find-File FOLDER NAMES
function Find-File([string] $Folder, [string[]] $Names) {
    foreach ($name in $Names) {
        $file = Join-Path $Folder $name
        if (Test-Path -LiteralPath $file) {
            return $file
        }
    }
    Stop-Example "There is no $($Names[0]) in ${Folder}: run $(Join-Path $repository 'winbuild.bat') first."
}

# --- the HSM ----------------------------------------------------------------------------------------------------------

# Without a name of an HSM an emulator is meant. That runs on Linux only: in WSL, or in a container. What
# `managed-hsm-emulator env --identity` prints there has to be set here.
function Test-Emulator { return -not $settings.HSM_NAME }

# Writes run\openssl.cnf, which activates the provider.
function Connect-Hsm {
    Find-Programs
    if ((Test-Emulator) -and -not $env:AZURE_MANAGEDHSM_URL) {
        Stop-Example "Name your HSM in $(Join-Path $here '.env') (HSM_NAME). The emulator runs on Linux only: start it in WSL, and set here what 'managed-hsm-emulator env --identity' prints there."
    }
    New-Item -ItemType Directory -Force -Path $run | Out-Null
    $lines = @(Invoke-Program $akv env --module $module)
    # The provider's section comes last. OpenSSL takes slashes in names of files, and backslashes for escapes.
    $log = (Join-Path $run 'provider.log').Replace('\', '/')
    Write-Text (Join-Path $run 'openssl.cnf') (($lines + 'log-level = info' + "log-file = $log") -join "`n")
}

# Writes a text as UTF-8, without the mark at the beginning that some versions write and OpenSSL and nginx don't know.
function Write-Text([string] $File, [string] $Text) {
    [IO.File]::WriteAllText($File, $Text + "`n", (New-Object Text.UTF8Encoding $false))
}

# Makes sure that a key is there: Assert-Key NAME rsa|ec. An emulator gets it; nobody's HSM does without being asked.
function Assert-Key([string] $Name, [string] $Kind) {
    $uri = "managedhsm:${hsm}:$Name"
    $options = if ($Kind -eq 'rsa') { '--type', 'rsa', '--size', '3072' } else { '--type', 'ec', '--curve', 'P-256' }
    $said = Get-Output $akv keys show $uri
    if ($LASTEXITCODE -eq 0) {
        return
    }
    if (-not (Test-Emulator)) {
        Stop-Example "${said}The key $Name can't be loaded. If it isn't there: akv keys create $uri $options --ops sign"
    }
    Invoke-Program $akv keys create $uri @options --if-absent | Out-Null
}

# How often the HSM signed with a key, by the provider's log.
function Get-SignatureCount([string] $Name) {
    $log = Join-Path $run 'provider.log'
    if (-not (Test-Path -LiteralPath $log)) {
        return 0
    }
    $pattern = 'sign with managedhsm:{0}:{1}\?.* status=200' -f [regex]::Escape($hsm), [regex]::Escape($Name)
    return @(Select-String -LiteralPath $log -Pattern $pattern).Count
}

# --- certificates -----------------------------------------------------------------------------------------------------

# A key file, which holds the URI of the key's newest version: Write-KeyFile KEY FILE
function Write-KeyFile([string] $Name, [string] $File) {
    Remove-Item -LiteralPath $File -ErrorAction SilentlyContinue
    Invoke-Program $akv keys pem "managedhsm:${hsm}:$Name" --out $File
}

# A self-signed CA: New-Ca KEY_FILE NAME OUT
function New-Ca([string] $KeyFile, [string] $Name, [string] $Out) {
    Invoke-WithHsm openssl req -new '-x509' -key $KeyFile '-sha256' -days 365 -subj "/O=Azure HSM Demo/CN=$Name" `
        -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign' -out $Out
}

# A certificate: New-Certificate KEY_FILE SUBJECT EXTENSIONS CA_KEY_FILE CA OUT
# The request is signed with the key, the certificate with the CA's; both in the HSM.
function New-Certificate([string] $KeyFile, [string] $Subject, [string[]] $Extensions, [string] $CaKeyFile, [string] $Ca, [string] $Out) {
    $request = [IO.Path]::ChangeExtension($Out, '.csr')
    $extensionFile = [IO.Path]::ChangeExtension($Out, '.ext')
    Invoke-WithHsm openssl req -new -key $KeyFile '-sha256' -subj $Subject -out $request
    Write-Text $extensionFile ((@('basicConstraints = CA:FALSE', 'keyUsage = digitalSignature') + $Extensions) -join "`n")
    Invoke-WithHsm openssl x509 -req -in $request -CA $Ca -CAkey $CaKeyFile -CAcreateserial '-sha256' -days 90 `
        -extfile $extensionFile -out $Out
    Remove-Item -LiteralPath $request, $extensionFile
}

# --- nginx ------------------------------------------------------------------------------------------------------------

function Get-NginxVersion {
    if ((Get-Output $nginx -v) -match 'nginx/([0-9.]+)') {
        return [version] $Matches[1]
    }
    Stop-Example "$nginx -v tells no version."
}

# How nginx is told a key: as `store:URI` from 1.29 on, by the key file before.
function Get-NginxKey([string] $KeyFile) {
    if ((Get-NginxVersion) -lt [version] '1.29.0') {
        return $KeyFile.Replace('\', '/')
    }
    if ((Get-Output openssl asn1parse -in $KeyFile) -match 'UTF8STRING\s*:(\S+)') {
        return "store:$($Matches[1])"
    }
    Stop-Example "$KeyFile holds no URI."
}

# Fills in @NAME@ in a template: Expand-Template TEMPLATE OUT VALUES. nginx takes slashes in names of files.
function Expand-Template([string] $Template, [string] $Out, [hashtable] $Values) {
    $text = Get-Content -LiteralPath $Template -Raw -Encoding UTF8
    foreach ($name in $Values.Keys) {
        $text = $text.Replace("@$name@", [string] $Values[$name])
    }
    Write-Text $Out $text
}

# The process of a file with a process id, if it runs: Get-Running PID_FILE NAME
function Get-Running([string] $PidFile, [string] $Name) {
    if (-not (Test-Path -LiteralPath $PidFile)) {
        return $null
    }
    $id = [int] (Get-Content -LiteralPath $PidFile -TotalCount 1)
    return Get-Process -Id $id -ErrorAction SilentlyContinue | Where-Object { $_.ProcessName -like "$Name*" }
}

# Starts nginx, which stays in the foreground on Windows, in the background: Start-Nginx CONFIGURATION LOG
function Start-Nginx([string] $Configuration, [string] $Log) {
    Invoke-WithHsm $nginx -t -q -p $run -e $Log -c $Configuration
    if (-not $onWindows) {
        Invoke-WithHsm $nginx -p $run -e $Log -c $Configuration
        return
    }
    $before = $env:OPENSSL_CONF
    $env:OPENSSL_CONF = Join-Path $run 'openssl.cnf'
    Start-Process -FilePath $nginx -WindowStyle Hidden -ArgumentList '-p', "`"$run`"", '-e', "`"$Log`"", '-c', "`"$Configuration`""
    $env:OPENSSL_CONF = $before
}

# Lets nginx end what it has begun: Stop-Nginx CONFIGURATION LOG PID_FILE
function Stop-Nginx([string] $Configuration, [string] $Log, [string] $PidFile) {
    if (-not (Get-Running $PidFile nginx)) {
        Remove-Item -LiteralPath $PidFile -ErrorAction SilentlyContinue
        return $false
    }
    # It reads the configuration again, keys included.
    Invoke-WithHsm $nginx -s quit -p $run -e $Log -c $Configuration
    if (-not (Wait-Until 10 { -not (Get-Running $PidFile nginx) })) {
        Invoke-WithHsm $nginx -s stop -p $run -e $Log -c $Configuration
    }
    Remove-Item -LiteralPath $PidFile -ErrorAction SilentlyContinue
    return $true
}
