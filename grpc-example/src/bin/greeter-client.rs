//! The gRPC client: makes all four kinds of call, through a sidecar's Unix socket or by TCP with
//! mutual TLS in the process, and prints what was answered. Ends with an error if an answer is not
//! the expected one.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use grpc_example::greeter::greeter_client::GreeterClient;
use grpc_example::greeter::{Greeting, Name};
use grpc_example::tls;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// Messages of the conversation.
const TURNS: u32 = 100;

/// Calls the greeter.
#[derive(Parser)]
struct Arguments {
    /// Unix socket of the sidecar
    #[arg(long, required_unless_present = "connect", conflicts_with = "connect")]
    socket: Option<PathBuf>,
    /// Host and port of a server with mutual TLS
    #[arg(long)]
    connect: Option<String>,
    #[command(flatten)]
    files: tls::Files,
}

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    match call(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("greeter-client: {}", sentence(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// What went wrong, in one line with its causes. Of a call that was refused it is the gRPC status
/// and the server's words.
fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut text = match error.downcast_ref::<Status>() {
        Some(status) => format!("{:?}: {}", status.code(), status.message()),
        None => error.to_string(),
    };
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    for cause in causes.map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

async fn call(arguments: Arguments) -> Outcome<()> {
    let channel = match (arguments.socket, arguments.connect) {
        (Some(path), _) => by_socket(path).await?,
        (None, Some(address)) => by_tls(address, &arguments.files).await?,
        (None, None) => unreachable!("one of both is required"),
    };
    let mut client = GreeterClient::new(channel);
    unary(&mut client).await?;
    server_stream(&mut client).await?;
    client_stream(&mut client).await?;
    two_way(&mut client).await
}

async fn by_socket(path: PathBuf) -> Outcome<Channel> {
    let connect = service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // The URI becomes the :authority of requests; the connector decides where they go.
    let endpoint = Endpoint::from_static("http://localhost");
    Ok(endpoint.connect_with_connector(connect).await?)
}

async fn by_tls(address: String, files: &tls::Files) -> Outcome<Channel> {
    let connector = Arc::new(tls::connector(files)?);
    let host = address
        .rsplit_once(':')
        .map_or(&*address, |(host, _)| host)
        .to_owned();
    let connect = service_fn(move |_| {
        let (connector, address, host) = (connector.clone(), address.clone(), host.clone());
        async move {
            let socket = TcpStream::connect(address).await?;
            tls::connect(&connector, &host, socket)
                .await
                .map(TokioIo::new)
        }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    Ok(endpoint.connect_with_connector(connect).await?)
}

fn name(name: &str) -> Name {
    Name {
        name: name.to_owned(),
    }
}

fn expect(kind: &str, greeting: &Greeting, text: &str) -> Outcome<()> {
    if greeting.text != text {
        return Err(format!("{kind}: {:?} instead of {text:?}", greeting.text).into());
    }
    println!(
        "{kind}: {} (to {}, by a server in {})",
        greeting.text, greeting.client, greeting.server
    );
    Ok(())
}

async fn unary(client: &mut GreeterClient<Channel>) -> Outcome<()> {
    let greeting = client.greet(name("Ada")).await?.into_inner();
    expect("unary", &greeting, "Hello, Ada!")
}

async fn server_stream(client: &mut GreeterClient<Channel>) -> Outcome<()> {
    let mut stream = client
        .greet_each(name("Ada Grace Radia"))
        .await?
        .into_inner();
    for expected in ["Ada", "Grace", "Radia"] {
        let greeting = stream
            .message()
            .await?
            .ok_or("the server's stream ended early")?;
        expect("server stream", &greeting, &format!("Hello, {expected}!"))?;
    }
    match stream.message().await? {
        None => Ok(()),
        Some(_) => Err("the server's stream goes on".into()),
    }
}

async fn client_stream(client: &mut GreeterClient<Channel>) -> Outcome<()> {
    let names = tokio_stream::iter(["Ada", "Grace", "Radia"].map(name));
    let greeting = client.greet_all(names).await?.into_inner();
    expect(
        "client stream",
        &greeting,
        "Hello, Ada and Grace and Radia!",
    )
}

/// Each message is sent when the answer to the one before is there: nothing on the way may hold it
/// back.
async fn two_way(client: &mut GreeterClient<Channel>) -> Outcome<()> {
    let (sender, receiver) = mpsc::channel(1);
    sender.send(name("0")).await?;
    let mut stream = client
        .converse(ReceiverStream::new(receiver))
        .await?
        .into_inner();
    for turn in 1..=TURNS {
        let greeting = stream
            .message()
            .await?
            .ok_or("the conversation ended early")?;
        let expected = format!("Hello, {}!", turn - 1);
        if greeting.text != expected {
            return Err(format!(
                "two-way stream: {:?} instead of {expected:?}",
                greeting.text
            )
            .into());
        }
        if turn < TURNS {
            sender.send(name(&turn.to_string())).await?;
        } else {
            expect("two-way stream", &greeting, &expected)?;
        }
    }
    drop(sender);
    match stream.message().await? {
        None => Ok(()),
        Some(_) => Err("the conversation goes on".into()),
    }
}
