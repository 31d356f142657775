//! The stub, asked by the real Claude Code: what a driver of it can count on.

use crate::stub::Stub;
use crate::support::Machine;

use super::Claude;

#[test]
fn an_answer_comes() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let claude = Claude::new(&machine, &stub);
    let mut session = claude.start(&machine.folder("demo"), "acceptEdits");
    let result = session.turn("@say It works.");
    assert_eq!(result["result"], "It works.");
    assert_eq!(result["is_error"], false);
    assert_eq!(result["usage"]["input_tokens"], 100);
    assert_eq!(result["usage"]["output_tokens"], 50);
    assert_eq!(session.end(), 0);
    let request = &stub.turns()[0];
    assert_eq!(request.session(), Some(session.id()));
    assert_eq!(request.last_user_text().unwrap().trim(), "@say It works.");
    assert_eq!(stub.requests().len(), 1);
}
