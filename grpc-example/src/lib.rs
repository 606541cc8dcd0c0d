//! What client and server share: the generated code, and TLS by OpenSSL in the process for the
//! variant without sidecars.

pub mod tls;

/// Generated from proto/greeter.proto.
pub mod greeter {
    tonic::include_proto!("greeter");
}

/// The metadata in which the server's sidecar tells the subject of the client's certificate.
pub const CLIENT_SUBJECT: &str = "x-client-subject";
