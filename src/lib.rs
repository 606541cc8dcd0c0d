//! OpenSSL provider
