@echo off
rem Builds the provider and akv, and installs the provider where OpenSSL looks for modules.
rem Usage: winbuild.bat [--debug] [--prefix DIR]
setlocal
cd /d "%~dp0"
set PROFILE=release
set FLAGS=--release
set DESTINATION=
:options
if "%~1"=="" goto build
if "%~1"=="--debug" (set PROFILE=debug& set FLAGS=& shift & goto options)
if "%~1"=="--prefix" (set "DESTINATION=%~2"& shift & shift & goto options)
echo Unknown option: %~1 1>&2
echo Usage: winbuild.bat [--debug] [--prefix DIR] 1>&2
exit /b 2
:build
where cargo >nul 2>nul
if errorlevel 1 (echo cargo was not found: install Rust from https://rustup.rs 1>&2 & exit /b 1)
where openssl >nul 2>nul
if errorlevel 1 (echo openssl was not found: install OpenSSL 3 and put it on the PATH 1>&2 & exit /b 1)
cargo build %FLAGS% --package akv_provider --package akv
if errorlevel 1 exit /b 1
if defined CARGO_TARGET_DIR (set "TARGET=%CARGO_TARGET_DIR%") else (set "TARGET=target")
if not defined DESTINATION for /f tokens^=2^ delims^=^" %%d in ('openssl version -m') do set "DESTINATION=%%d"
if not defined DESTINATION (echo openssl does not tell its MODULESDIR: give --prefix DIR 1>&2 & exit /b 1)
if not exist "%DESTINATION%" mkdir "%DESTINATION%"
copy /y "%TARGET%\%PROFILE%\akv_provider.dll" "%DESTINATION%\akv_provider.dll" >nul
if errorlevel 1 (echo %DESTINATION% can not be written to: run this as administrator 1>&2 & exit /b 1)
echo Installed %DESTINATION%\akv_provider.dll
echo akv is %TARGET%\%PROFILE%\akv.exe
