//! The gRPC server: behind a sidecar at a Unix socket in plain text, or by TCP with mutual TLS in
//! the process.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use clap::Parser;
use grpc_example::greeter::greeter_server::{Greeter, GreeterServer};
use grpc_example::greeter::{Greeting, Name};
use grpc_example::{CLIENT_SUBJECT, tls};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// Greets, in all four kinds of gRPC call.
#[derive(Parser)]
struct Arguments {
    /// Unix socket to serve at, in plain text
    #[arg(long, required_unless_present = "listen", conflicts_with = "listen")]
    socket: Option<PathBuf>,
    /// Address and port to serve at, with mutual TLS
    #[arg(long, requires_all = ["ca", "certificate"])]
    listen: Option<String>,
    #[command(flatten)]
    files: tls::Files,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let server = Server::builder().add_service(GreeterServer::new(Service));
    match (&arguments.socket, &arguments.listen) {
        (Some(path), _) => {
            let incoming = UnixListenerStream::new(bind(path)?);
            println!("serving at {}", path.display());
            server
                .serve_with_incoming_shutdown(incoming, ended())
                .await?;
        }
        (None, Some(address)) => {
            let incoming = accepted(address, &arguments.files).await?;
            println!("serving at {address} with mutual TLS");
            server
                .serve_with_incoming_shutdown(incoming, ended())
                .await?;
        }
        (None, None) => unreachable!("one of both is required"),
    }
    Ok(())
}

/// A socket that a killed server left behind is in the way.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    let _ = fs::remove_file(path);
    UnixListener::bind(path)
}

/// Connections whose handshakes are done. Each has a task of its own, so that a slow client holds
/// up nobody.
async fn accepted(
    address: &str,
    files: &tls::Files,
) -> Result<impl Stream<Item = std::io::Result<tls::Stream>> + use<>, Box<dyn Error>> {
    let acceptor = tls::acceptor(files)?;
    let listener = TcpListener::bind(address).await?;
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            match listener.accept().await {
                Ok((socket, from)) => tokio::spawn(async move {
                    match tls::accept(&acceptor, socket).await {
                        Ok(stream) => {
                            let _ = sender.send(Ok(stream)).await;
                        }
                        Err(error) => eprintln!("no connection from {from}: {error}"),
                    }
                }),
                Err(error) => {
                    eprintln!("no connection: {error}");
                    continue;
                }
            };
        }
    });
    Ok(ReceiverStream::new(receiver))
}

/// Ends with SIGTERM or SIGINT.
async fn ended() {
    let (Ok(mut term), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}

struct Service;

/// What a greeting is made of.
#[derive(Clone)]
struct Voice {
    client: String,
}

impl Voice {
    /// Knows the client by the sidecar's metadata, or by the connection's certificate.
    fn of<T>(call: &str, request: &Request<T>) -> Voice {
        let told = request.metadata().get(CLIENT_SUBJECT);
        let told = told
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let seen = request.extensions().get::<tls::Peer>();
        let client = told.or(seen.map(|peer| format!("CN={}", peer.0)));
        let client = client.unwrap_or_else(|| "unknown".to_owned());
        println!("{call} for {client}");
        Voice { client }
    }

    fn greet(&self, name: &str) -> Greeting {
        Greeting {
            text: format!("Hello, {name}!"),
            client: self.client.clone(),
            server: "Rust".to_owned(),
        }
    }
}

type Greetings = Pin<Box<dyn Stream<Item = Result<Greeting, Status>> + Send>>;

#[tonic::async_trait]
impl Greeter for Service {
    type GreetEachStream = Greetings;
    type ConverseStream = Greetings;

    async fn greet(&self, request: Request<Name>) -> Result<Response<Greeting>, Status> {
        let voice = Voice::of("Greet", &request);
        Ok(Response::new(voice.greet(&request.into_inner().name)))
    }

    async fn greet_each(&self, request: Request<Name>) -> Result<Response<Greetings>, Status> {
        let voice = Voice::of("GreetEach", &request);
        let names = request.into_inner().name;
        let words: Vec<_> = names
            .split_whitespace()
            .map(|name| Ok(voice.greet(name)))
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(words))))
    }

    async fn greet_all(
        &self,
        request: Request<Streaming<Name>>,
    ) -> Result<Response<Greeting>, Status> {
        let voice = Voice::of("GreetAll", &request);
        let mut stream = request.into_inner();
        let mut names = Vec::new();
        while let Some(name) = stream.next().await {
            names.push(name?.name);
        }
        Ok(Response::new(voice.greet(&names.join(" and "))))
    }

    async fn converse(
        &self,
        request: Request<Streaming<Name>>,
    ) -> Result<Response<Greetings>, Status> {
        let voice = Voice::of("Converse", &request);
        let answers = request
            .into_inner()
            .map(move |name| Ok(voice.greet(&name?.name)));
        Ok(Response::new(Box::pin(answers)))
    }
}
