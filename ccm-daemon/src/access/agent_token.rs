//! Tokens of running agents: `ccm-run_RUNID_SIGNATURE`.
//!
//! Nothing is kept of them. The signature says that this daemon's home made it, the run says which project it is for,
//! and a run that is over has none: whoever checks a token looks the run up.

use std::collections::BTreeMap;

use ccm_core::id::RunId;
use ccm_core::runtime::LaunchOrder;
use uuid::Uuid;

use super::keys::{Key, Keys};
use crate::machine::Token;

const PREFIX: &str = "ccm-run_";
/// The variable of an agent that holds its token.
const VARIABLE: &str = "CCM_TOKEN";

/// Makes and knows the tokens of runs.
#[derive(Debug, Clone)]
pub(crate) struct AgentTokens {
    key: Key,
}

impl AgentTokens {
    /// Those of the home that `token` opens.
    pub(crate) fn of(token: &Token) -> Self {
        Self::new(&Keys::of(token))
    }

    pub(super) fn new(keys: &Keys<'_>) -> Self {
        Self {
            key: keys.key("agent token v1"),
        }
    }

    /// The token of a run.
    pub(crate) fn make(&self, run: RunId) -> String {
        let signature = self.key.sign(run.as_uuid().as_bytes());
        format!("{PREFIX}{}_{signature}", run.as_uuid().simple())
    }

    /// The run whose token this is, whether it still goes on or not.
    pub(crate) fn run(&self, token: &str) -> Option<RunId> {
        let (run, signature) = token.strip_prefix(PREFIX)?.split_once('_')?;
        let run = Uuid::try_parse(run).ok()?;
        self.key
            .is_signature(run.as_bytes(), signature)
            .then(|| RunId::from_uuid(run))
    }

    /// What a run gets in its environment.
    pub(crate) fn environment(&self, order: &LaunchOrder) -> BTreeMap<String, String> {
        BTreeMap::from([(VARIABLE.to_owned(), self.make(order.run))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(digit: char) -> AgentTokens {
        let token = Token::parse(&digit.to_string().repeat(64)).unwrap();
        AgentTokens::of(&token)
    }

    #[test]
    fn a_token_names_its_run_and_no_other() {
        let own = tokens('a');
        let (run, other) = (RunId::new(), RunId::new());
        let token = own.make(run);
        assert_eq!(own.run(&token), Some(run));
        assert_eq!(tokens('b').run(&token), None, "of another home");
        let forged = own.make(other);
        let (signature, forged_run) = (
            token.rsplit_once('_').unwrap().1,
            forged.rsplit_once('_').unwrap().0,
        );
        assert_eq!(own.run(&format!("{forged_run}_{signature}")), None);
        for wrong in [
            "",
            "ccm-run_",
            &token[..token.len() - 1],
            &format!("{token}0"),
            &token[8..],
        ] {
            assert_eq!(own.run(wrong), None, "{wrong}");
        }
    }
}
