//! The table: what has to become of an operation under each fault.

use super::Campaign;
use crate::support::openssl_version;

/// Seconds that an operation may take where an error is to come, and where it is to succeed in
/// spite of the fault.
pub(super) const SHORT: &str = "2";
pub(super) const LONG: &str = "30";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Success,
    Error,
    /// As it happens: what the fault meets depends on which connection carries what.
    Either,
    /// An error where a connection is opened for the operation: by all but one of several threads,
    /// which takes the one that is there.
    ErrorIfNew,
    /// Success where no other operation has the connection before or meanwhile.
    SuccessIfAlone,
}

use Expected::{Either, Error, ErrorIfNew, Success, SuccessIfAlone};

impl Expected {
    /// What it comes to in a process model: success, an error, or either.
    ///
    /// Of commands, each has a connection of its own, which first loads the key if the operation
    /// has one; so has each child, for the operation alone. Jobs share one of HTTP/2, which is
    /// opened for them. Where it is closed after an answer, that tells nothing about those that
    /// wait for theirs: all may fail where each answer has the fault, and where one has it, only
    /// that which may not be asked for again, the making of a key.
    fn of(self, model: &str) -> Self {
        match (self, model) {
            (Success | Error | Either, _) => self,
            (_, "threads") | (SuccessIfAlone, "jobs") => Either,
            (ErrorIfNew, _) => Error,
            (SuccessIfAlone, _) => Success,
        }
    }
}

/// A row of the table.
pub(super) struct Fault {
    /// As the emulator takes it.
    pub(super) kind: &'static str,
    /// What becomes of an operation that meets it once: of one that may be repeated, and of making
    /// a key.
    pub(super) once: (Expected, Expected),
    pub(super) always: Expected,
    /// An error of one that always meets it has one of these words.
    pub(super) words: &'static [&'static str],
    /// Which operations can meet it; all if empty.
    pub(super) only: &'static [&'static str],
}

const fn fault(
    kind: &'static str,
    once: (Expected, Expected),
    always: Expected,
    words: &'static [&'static str],
) -> Fault {
    Fault {
        kind,
        once,
        always,
        words,
        only: &[],
    }
}

/// Those whose answer the provider can tell from a right one.
pub(super) const SIGNATURES: &[&str] = &["pkcs1", "pss", "ec", "ml-dsa"];

pub(super) const FAULTS: &[Fault] = &[
    // What was not done is done again; what may have been done only if that does no harm.
    fault("request-timeout", (Success, Error), Error, &["408"]),
    fault("throttled", (Success, Success), Error, &["429"]),
    fault("throttled-retry-after", (Success, Success), Error, &["429"]),
    fault("internal-error", (Success, Error), Error, &["500"]),
    fault("bad-gateway", (Success, Error), Error, &["502"]),
    fault("unavailable", (Success, Error), Error, &["503"]),
    fault("unavailable-retry-after", (Success, Error), Error, &["503"]),
    fault("gateway-timeout", (Success, Error), Error, &["504"]),
    // Whoever comes after another one's challenge has a token with these claims, and is told that
    // it lacks them.
    fault(
        "claims-challenge",
        (SuccessIfAlone, SuccessIfAlone),
        Error,
        &["401", "claims"],
    ),
    fault("drop", (Success, Error), Error, &["closed"]),
    fault("reset", (Success, Error), Error, &["reset", "closed"]),
    fault("silence", (Error, Error), Error, &["no answer from"]),
    fault("lost-answer", (Success, Error), Error, &["closed"]),
    fault(
        "half-body",
        (Success, Error),
        Error,
        &["closed", "answer", "body"],
    ),
    fault("malformed-json", (Error, Error), Error, &["JSON", "answer"]),
    fault("garbage", (Error, Error), Error, &["HTTP", "answer"]),
    fault("twice", (Success, Success), Success, &[]),
    fault("huge-body", (Error, Error), Error, &["large", "bytes"]),
    // Slow, but in time; and not in time.
    fault(
        "slow-first-byte,delay_ms=300",
        (Success, Success),
        Success,
        &[],
    ),
    fault("slow-body,delay_ms=300", (Success, Success), Success, &[]),
    fault(
        "slow-first-byte,delay_ms=60000",
        (Error, Error),
        Error,
        &["no answer from"],
    ),
    fault(
        "slow-body,delay_ms=60000",
        (Error, Error),
        Error,
        &["no answer from"],
    ),
    fault("close", (Success, Success), Success, &[]),
    // The next request may be on its way when the connection is closed.
    fault(
        "close-idle,delay_ms=0",
        (Success, SuccessIfAlone),
        SuccessIfAlone,
        &["closed", "reset"],
    ),
    fault(
        "close-idle,delay_ms=20",
        (Success, SuccessIfAlone),
        SuccessIfAlone,
        &["closed", "reset"],
    ),
    // Of new connections; a kept one doesn't meet them.
    fault(
        "connection-reset",
        (Success, Success),
        ErrorIfNew,
        &["reset", "closed", "connect"],
    ),
    fault(
        "broken-handshake",
        (Success, Success),
        ErrorIfNew,
        &["handshake", "connect", "closed"],
    ),
    // Once, one operation fails of these two, whichever it is: `Run::fails_once`.
    fault(
        "garbage-handshake",
        (Either, Either),
        ErrorIfNew,
        &["TLS", "connect"],
    ),
    fault(
        "no-handshake",
        (Either, Either),
        ErrorIfNew,
        &["connect", "time"],
    ),
    fault(
        "slow-handshake,delay_ms=300",
        (Success, Success),
        Success,
        &[],
    ),
    // Shown to all connections or to none, and so never once.
    fault(
        "certificate=expired",
        (Either, Either),
        ErrorIfNew,
        &["certificate"],
    ),
    fault(
        "certificate=other-host",
        (Either, Either),
        ErrorIfNew,
        &["certificate"],
    ),
    fault(
        "certificate=other-authority",
        (Either, Either),
        ErrorIfNew,
        &["certificate"],
    ),
    // A signature is checked before anybody gets it.
    Fault {
        only: SIGNATURES,
        ..fault(
            "wrong-value",
            (Error, Error),
            Error,
            &["verif", "public key"],
        )
    },
    Fault {
        only: SIGNATURES,
        ..fault("wrong-length", (Error, Error), Error, &["length", "bytes"])
    },
    Fault {
        only: &["random"],
        ..fault("wrong-length", (Error, Error), Error, &["bytes"])
    },
];

/// An operation, and how the emulator knows its requests. The path of a key that is named for its
/// operation ends in a slash: its loading isn't meant.
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) meets: &'static str,
}

impl Operation {
    /// Whether a process model has it: OpenSSL has some from 3.5 on, one of them for programs only.
    pub(super) fn is_of(&self, model: &str) -> bool {
        match self.name {
            name if model.starts_with(PKCS11) => name != NOT_OF_PKCS11,
            "encrypt" => openssl_version() >= (3, 5) && model != "commands",
            "ml-dsa" => openssl_version() >= (3, 5),
            _ => true,
        }
    }
}

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "load",
        meets: "path=/keys/load",
    },
    Operation {
        name: "pkcs1",
        meets: "path=/keys/pkcs1,operation=sign",
    },
    Operation {
        name: "pss",
        meets: "path=/keys/pss,operation=sign",
    },
    Operation {
        name: "ec",
        meets: "path=/keys/ec,operation=sign",
    },
    Operation {
        name: "decrypt",
        meets: "path=/keys/decrypt/,operation=decrypt",
    },
    Operation {
        name: "wrap",
        meets: "path=/keys/wrap,operation=wrapkey",
    },
    Operation {
        name: "unwrap",
        meets: "path=/keys/wrap,operation=unwrapkey",
    },
    Operation {
        name: "random",
        meets: "operation=rng",
    },
    Operation {
        name: "list",
        meets: "operation=keys",
    },
    Operation {
        name: "create",
        meets: "path=/keys/new,operation=create",
    },
    Operation {
        name: "ml-dsa",
        meets: "path=/keys/ml-dsa,operation=sign",
    },
    Operation {
        name: "encrypt",
        meets: "path=/keys/encrypt/,operation=encrypt",
    },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Once,
    Always,
}

/// A process for each operation, or one process for all of them; by the provider, or by the
/// PKCS#11 module.
pub(super) const MODELS: [&str; 6] = [
    "commands",
    "threads",
    "children",
    "jobs",
    "PKCS#11 threads",
    "PKCS#11 children",
];

/// What the models begin with where the PKCS#11 module is the front end.
const PKCS11: &str = "PKCS#11 ";

/// The one operation that isn't tried with the PKCS#11 module, which keeps its listings.
const NOT_OF_PKCS11: &str = "list";

/// All operations under a fault, at the same time, in a process model.
pub(super) struct Run {
    pub(super) fault: &'static Fault,
    pub(super) when: When,
    pub(super) model: &'static str,
}

impl Run {
    pub(super) fn expected(&self, operation: &str) -> Expected {
        // What comes twice breaks the connection of HTTP/2 that jobs share, perhaps before the
        // others' answers. Who may ask again does, which is of use if all is well then; but a long
        // answer, which is written in pieces, is perhaps no JSON any more.
        if self.model == "jobs" && self.fault.kind == "twice" {
            return match (self.when, operation) {
                (When::Always, _) | (When::Once, "create" | "list" | "ml-dsa") => Either,
                (When::Once, _) => Success,
            };
        }
        let expected = match (self.when, operation) {
            (When::Once, "create") => self.fault.once.1,
            (When::Once, _) => self.fault.once.0,
            (When::Always, _) => self.fault.always,
        };
        expected.of(self.of_pkcs11().unwrap_or(self.model))
    }

    /// Whether one of the operations has to fail, whichever it is: that which opens the connection
    /// with the fault, where no other attempt at the same endpoint is worth its time. Of jobs, too:
    /// until one of them knows whether the server speaks HTTP/2, each opens its own.
    pub(super) fn fails_once(&self) -> bool {
        let kinds = ["garbage-handshake", "no-handshake"];
        self.when == When::Once && kinds.contains(&self.fault.kind)
    }

    pub(super) fn timeout(&self) -> &'static str {
        let has = |expected| {
            let mut all = OPERATIONS.iter();
            all.any(|operation| self.expected(operation.name) == expected)
        };
        // An outage is an error as well, at last.
        let may_succeed = has(Success) || (has(Either) && self.when == When::Once);
        // Nobody waits for the end of the time where claims are asked for again: the error comes
        // at once, but after logging in twice.
        let logs_in_again = self.fault.kind == "claims-challenge";
        // The operations that can't meet it have to succeed.
        match may_succeed || logs_in_again || !self.fault.only.is_empty() {
            true => LONG,
            false => SHORT,
        }
    }

    /// The process model, where the PKCS#11 module is the front end.
    pub(super) fn of_pkcs11(&self) -> Option<&'static str> {
        self.model.strip_prefix(PKCS11)
    }

    pub(super) fn meets(&self, operation: &str) -> bool {
        self.fault.only.is_empty() || self.fault.only.contains(&operation)
    }

    pub(super) fn sets_out(&self, hsm: &Campaign) {
        let kind = self.fault.kind;
        let count = match self.when {
            When::Once => ",count=1",
            When::Always => "",
        };
        if let Some(shown) = kind.strip_prefix("certificate=") {
            hsm.control("PUT", "/certificate", shown);
        } else if kind.contains("handshake") || kind.starts_with("connection-") {
            hsm.control("POST", "/faults", &format!("{kind}{count}"));
        } else {
            for operation in OPERATIONS.iter().filter(|it| self.meets(it.name)) {
                let fault = format!("{kind},{}{count}", operation.meets);
                hsm.control("POST", "/faults", &fault);
            }
        }
    }
}
