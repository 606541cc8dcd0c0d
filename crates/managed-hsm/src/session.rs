//! What a client has in one process: its connections and its tokens. A forked child has its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use http::HeaderMap;

use crate::ahead::Ahead;
use crate::error::Error;
use crate::forks::{ProcessId, Work};
use crate::http::exchange::Http;
use crate::http::message::Message;
use crate::metrics;
use crate::obstacle::Obstacle;
use crate::pool::Pool;
use crate::request::Request;
use crate::settings::client::Settings;
use crate::transport::Transport;

/// The sessions of a client, of which there is one at a time.
pub(crate) struct Sessions {
    pub(crate) settings: Settings,
    pub(crate) ahead: Ahead,
    session: ArcSwapOption<Session>,
}

/// The client's connections and tokens in one process.
pub(crate) struct Session {
    process: ProcessId,
    pub(crate) pool: Pool,
    pub(crate) transport: Transport,
}

impl Sessions {
    pub(crate) fn new(settings: Settings) -> Self {
        metrics::plan(&settings);
        Self {
            settings,
            ahead: Ahead::default(),
            session: ArcSwapOption::empty(),
        }
    }

    /// Sends a request on this thread, and returns what `read` makes of the answer. With a frame of
    /// its own: a fibre leaves this to the I/O thread, and its stack has no room for that frame.
    #[inline(never)]
    pub(crate) fn ask<T>(
        &self,
        request: &Request,
        deadline: Instant,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Error> {
        let session = self.session()?;
        let outcome = session.pool.run(&request.url, deadline, async |http| {
            session.send(http, request, deadline, read).await
        });
        let (result, _) = outcome.unwrap_or_else(|| Err(self.late(request)))?;
        Ok(result)
    }

    /// The same on the I/O thread.
    pub(crate) async fn ask_from_io_thread<T>(
        &self,
        request: &Request,
        deadline: Instant,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Error> {
        let session = self.session()?;
        let borrowed = session.pool.borrow().await?;
        let mut outcome = session.send(&borrowed.http, request, deadline, &read).await;
        if matches!(
            &outcome,
            Err(Error::Connect {
                obstacle: Obstacle::NoHttp2,
                ..
            })
        ) {
            borrowed.unshare();
            let borrowed = session.pool.borrow().await?;
            outcome = session.send(&borrowed.http, request, deadline, &read).await;
        } else if let Ok((_, is_http2)) = &outcome
            && !borrowed.is_shared()
        {
            borrowed.discovered(*is_http2);
        }
        drop(borrowed);
        let (result, _) = outcome?;
        Ok(result)
    }

    /// Sends a request once, and without a token. Returns the headers of the answer, which is a
    /// refusal if all is well. It takes no longer than `limit`, or than a request that is sent
    /// once.
    pub(crate) fn ask_without_token(
        &self,
        request: &Request,
        limit: Duration,
    ) -> Result<HeaderMap, Error> {
        let settings = &self.settings;
        let once = settings.connect_timeout + settings.response_timeout;
        let deadline = Instant::now() + limit.min(once);
        let session = self.session()?;
        let outcome = session.pool.run(&request.url, deadline, async |http| {
            let message = Message {
                method: &request.method,
                url: &request.url,
                user_agent: &settings.front_end.user_agent,
                client_request_id: None,
                authorization: None,
                body: request.body.as_ref(),
                repeatable: request.repeatable,
            };
            let answer = http.exchange(&message).await;
            answer.map_err(|failure| request.failed(&failure, None))
        });
        let late = || Err(request.late(settings.operation_timeout, None));
        Ok(outcome.unwrap_or_else(late)?.headers)
    }

    /// Lets go of this process's session.
    pub(crate) fn close(&self) {
        if let Some(session) = self.session.swap(None) {
            session.let_go();
        }
    }

    /// Why a request has no answer when its time is over. It may have waited behind others that
    /// have no token either, and then it isn't the HSM that has not answered.
    pub(crate) fn late(&self, request: &Request) -> Error {
        let session = self.session.load_full();
        let session = session.filter(|session| session.process.is_current());
        let token = session.and_then(|session| session.transport.without_token(&request.vault));
        token.unwrap_or_else(|| request.late(self.settings.operation_timeout, None))
    }

    /// This process's session; makes it if there is none.
    pub(crate) fn session(&self) -> Result<Arc<Session>, Error> {
        let process = ProcessId::current();
        let seen = self.session.load_full();
        if let Some(session) = &seen
            && session.process == process
        {
            return Ok(Arc::clone(session));
        }
        let _work = Work::begin();
        let tls = self.settings.tls()?;
        let made = Arc::new(Session {
            process,
            transport: Transport::new(self.settings.clone(), &tls),
            pool: Pool::new(&self.settings, tls),
        });
        let previous = self
            .session
            .compare_and_swap(&seen, Some(Arc::clone(&made)));
        match previous.as_ref() {
            // Another thread of this process was faster.
            Some(other) if other.process == process => return Ok(Arc::clone(other)),
            _ => {}
        }
        if let Some(session) = seen {
            session.let_go();
        }
        Ok(made)
    }
}

impl Session {
    /// Sends a request, and reads the answer; with it comes whether the server spoke HTTP/2.
    async fn send<T>(
        &self,
        http: &Http,
        request: &Request,
        deadline: Instant,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<(T, bool), Error> {
        let answer = self.transport.send(http, &self.pool, request, deadline);
        let answer = answer.await?;
        let result = read(&answer.body).map_err(|problem| request.bad_answer(problem))?;
        Ok((result, answer.is_http2))
    }

    /// Drops the session, unless it is the parent's: then it stays as it is, for the sake of the
    /// parent's sockets.
    fn let_go(self: Arc<Self>) {
        if !self.process.is_current() {
            std::mem::forget(self);
        }
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.close();
    }
}
