use serde::{Deserialize, Serialize};

/// The subprotocol of an agent's terminal.
pub const TERMINAL_PROTOCOL: &str = "ccm.terminal.v1";

/// What a terminal's reader is told in text messages. What the pane prints comes in binary ones, to be written as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum TerminalMessage {
    /// The whole screen, first of all and whenever what was told so far does not count any more.
    Screen(TerminalScreen),
}

/// What an agent's pane shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TerminalScreen {
    /// How wide the pane is. It is the pane's own size, whoever looks.
    pub columns: u16,
    /// How high it is.
    pub rows: u16,
    /// Where the next character goes.
    pub cursor: TerminalCursor,
    /// Whether a program has the alternate screen, as editors do.
    pub alternate: bool,
    /// Whether this reader may type.
    pub input: bool,
    /// To be written on a terminal of that size: it shows the screen then, whatever it showed before.
    pub content: String,
}

/// A place on a screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TerminalCursor {
    /// From the left; the first is 0.
    pub column: u16,
    /// From the top; the first is 0.
    pub row: u16,
    /// Whether it is shown.
    pub visible: bool,
}

/// What a terminal's reader says in text messages. Keys go in binary ones, as a terminal sends them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum TerminalInput {
    /// Text that is pasted. Control characters other than tabs and ends of lines are removed.
    Paste {
        /// The text.
        text: String,
    },
}

macro_rules! closes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// Why the daemon closes a terminal: the code of the closing frame, whose reason is the name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum TerminalClose {
            $($(#[$doc])* $name,)*
        }

        impl TerminalClose {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code of the closing frame.
            pub const fn code(self) -> u16 {
                match self { $(Self::$name => $number,)* }
            }

            /// The reason in the closing frame.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

closes! {
    /// The daemon stops. Connect again when it is back.
    Stopping = 1001, "stopping";
    /// A text message is none that is known.
    BadMessage = 1007, "bad_message";
    /// The reader typed without having asked for it.
    InputNotAllowed = 1008, "input_not_allowed";
    /// A message is larger than allowed.
    TooLarge = 1009, "too_large";
    /// The window was closed or moved, or tmux ended. It is drawn again if the agent is up: connect again.
    WindowGone = 4001, "window_gone";
    /// Somebody stopped the agent.
    AgentStopped = 4002, "agent_stopped";
    /// The agent went to sleep.
    AgentAsleep = 4003, "agent_asleep";
    /// The reader took nothing, or answered no ping, for too long. Connect again.
    TooSlow = 4004, "too_slow";
    /// The reader's session, or the run whose token it came with, is over.
    Revoked = 4005, "revoked";
}
