use ccm_core::api::{Problem, ProblemCode};

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call gave no answer of the kind that was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The daemon refused, and says why.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// Nobody answered, or not to the end. Whether a call that changes something took effect is not known.
    #[error("the daemon at {url} can't be reached")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What the connection said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something answered, but not as CCM's API does.
    #[error("what answers at {url} is not CCM's daemon: {detail}")]
    Foreign {
        /// Where.
        url: String,
        /// What is wrong with the answer.
        detail: String,
    },
    /// The endpoint itself can't be used.
    #[error("{0}")]
    Endpoint(String),
}

impl Error {
    /// The kind of problem, if the daemon answered with one.
    pub fn code(&self) -> Option<ProblemCode> {
        match self {
            Self::Problem(problem) => Some(problem.code),
            _ => None,
        }
    }

    /// Whether somebody took the call and did not answer in time.
    pub fn is_timeout(&self) -> bool {
        let Self::Unreachable { source, .. } = self else {
            return false;
        };
        source.is::<tokio::time::error::Elapsed>()
            || source
                .downcast_ref::<reqwest::Error>()
                .is_some_and(|error| error.is_timeout() && !error.is_connect())
    }

    /// Whether nobody answered.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}
