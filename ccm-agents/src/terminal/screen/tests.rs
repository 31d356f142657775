use proptest::prelude::*;

use super::*;

fn shown(input: &[u8]) -> String {
    ScreenFilter::new().push(input)
}

/// What somebody else's parser finds in the output that is not on the list. The list is written down here once more.
#[derive(Default)]
struct Judge {
    found: Vec<String>,
}

impl vte::Perform for Judge {
    fn print(&mut self, c: char) {
        if c.is_control() || reorders(c) {
            self.found.push(format!("character {c:?}"));
        }
    }

    fn execute(&mut self, byte: u8) {
        if !(8..=15).contains(&byte) {
            self.found.push(format!("control {byte:#x}"));
        }
    }

    fn hook(&mut self, _: &vte::Params, _: &[u8], _: bool, last: char) {
        self.found.push(format!("DCS {last:?}"));
    }

    fn osc_dispatch(&mut self, parts: &[&[u8]], _: bool) {
        self.found.push(format!("OSC {parts:?}"));
    }

    fn csi_dispatch(&mut self, params: &vte::Params, marks: &[u8], ignore: bool, last: char) {
        let values: Vec<u16> = params.iter().flatten().copied().collect();
        let fine = match (marks, last) {
            (b"?", 'h' | 'l') => values
                .iter()
                .all(|mode| [1, 6, 7, 25, 47, 1047, 1049].contains(mode)),
            (b"", 'h' | 'l') => values == [4],
            (b"", '@' | 'L' | 'M' | 'P' | 'S' | 'T' | 'X' | 'Z' | 'b') => {
                values.len() == 1 && values[0] < 1000
            }
            (b"", 'A'..='K' | '`' | 'd' | 'f' | 'g' | 'r' | 's' | 'u') => {
                values.len() <= 2 && values.iter().all(|value| *value < 10_000) && last != 'I'
            }
            (b"", 'm') => true,
            _ => false,
        };
        // Too many colours at once are ignored by every terminal.
        if !fine || (ignore && last != 'm') {
            self.found
                .push(format!("CSI {marks:?} {values:?} {last:?}"));
        }
    }

    fn esc_dispatch(&mut self, marks: &[u8], _: bool, last: u8) {
        let fine = match marks {
            b"" => b"78=>DEHMc".contains(&last),
            b"(" | b")" => b"0B".contains(&last),
            b"#" => last == b'8',
            _ => false,
        };
        if !fine {
            self.found.push(format!("ESC {marks:?} {last:#x}"));
        }
    }
}

/// What is in `output` that should not be.
fn judged(output: &str) -> Vec<String> {
    let mut judge = Judge::default();
    let mut parser = vte::Parser::new();
    parser.advance(&mut judge, output.as_bytes());
    // A sequence that was not complete would show itself, or swallow this.
    let before = judge.found.len();
    parser.advance(&mut judge, b"\x07");
    if judge.found.len() != before + 1 {
        judge.found.push("an open sequence".into());
    }
    judge.found.retain(|found| found != "control 0x7");
    judge.found
}

/// Sequences that have been used against people, or that make a terminal answer, and what is left of them.
const ATTACKS: &[(&[u8], &str)] = &[
    // The clipboard, written and read.
    (b"a\x1b]52;c;cm0gLXJmIH4K\x07b", "ab"),
    (b"a\x1b]52;c;?\x1b\\b", "ab"),
    (b"a\x1bPtmux;\x1b\x1b]52;c;aGk=\x07\x1b\\b", "ab"),
    // Links, titles, colours, folders, prompts' marks, notifications, files.
    (b"a\x1b]8;;file:///etc/passwd\x1b\\b\x1b]8;;\x1b\\c", "abc"),
    (b"a\x1b]0;title\x07\x1b]2;t\x07\x1b]l;t\x07b", "ab"),
    (
        b"a\x1b]4;1;?\x07\x1b]10;?\x07\x1b]11;#000\x07\x1b]104\x07b",
        "ab",
    ),
    (
        b"a\x1b]7;file://h/x\x07\x1b]133;A\x07\x1b]633;E;x\x07b",
        "ab",
    ),
    (
        b"a\x1b]9;note\x07\x1b]777;notify;a;b\x07\x1b]99;;x\x1b\\b",
        "ab",
    ),
    (
        b"a\x1b]1337;File=inline=1:AAAA\x07b\x1b]1337;Copy=;x\x07c",
        "abc",
    ),
    (b"a\x1b]50;#0\x07\x1b]5522;type=read\x1b\\b", "ab"),
    (b"a\x1bktitle\x1b\\b", "ab"),
    // A title that is reported comes back as typed text; so do all other answers.
    (b"a\x1b]0;;rm -rf ~;\x07\x1b[21t\x1b[20tb", "ab"),
    (b"a\x1b[c\x1b[0c\x1b[>c\x1b[=c\x1b[>0q\x1b[>q\x1bZb", "ab"),
    (
        b"a\x1b[5n\x1b[6n\x1b[?6n\x1b[?15n\x1b[?26n\x1b[?996nb",
        "ab",
    ),
    (b"a\x1b[?1$p\x1b[4$p\x1b[xb\x1b[1xc\x1b[?1;1;0Sd", "abcd"),
    (
        b"a\x1bP$q\"p\x1b\\\x1bP+q544e\x1b\\\x1bP1000p%begin\x1b\\b",
        "ab",
    ),
    (b"a\x1bP1$r0m\x1b\\\x1bP|0000000\x1b\\b", "ab"),
    (b"a\x05b\x1b[1;1;1;1;1;1*yc\x1b[?1ud\x1b[>1ue", "abcde"),
    (b"a\x1b[14t\x1b[16t\x1b[18t\x1b[19t\x1b[11t\x1b[13tb", "ab"),
    // The window moved, resized, hidden; columns changed.
    (
        b"a\x1b[2t\x1b[3;0;0t\x1b[8;1;1t\x1b[9;1tb\x1b[?3h\x1b[?40hc",
        "abc",
    ),
    // What the reader does with mouse, focus and paste is sent to the program.
    (
        b"a\x1b[?9h\x1b[?1000h\x1b[?1002;1003;1006hb\x1b[?1004hc\x1b[?2004hd",
        "abcd",
    ),
    (b"a\x1b[?1;1000;25hb", "a\x1b[?1;25hb"),
    (b"a\x1b[1;2;3;4;5Tb\x1b['zc\x1b[1'{d", "abcd"),
    // Keys that send something else.
    (
        b"a\x1b[>4;2m\x1b[>4m\x1b[?4mb\x1b[=1;1uc\x1b[<ud\x1b[?7727he",
        "abcde",
    ),
    // Printing, bell, lights, keyboard locked, styles of the cursor, the screen held.
    (
        b"a\x1b[5i\x1b[4i\x1b[?5i\x1b[ib\x07c\x1b[1qd\x1b[2he\x1b[3 qf\x1b[?2026hg",
        "abcdefg",
    ),
    (b"a\x1b[!pb\x1b[\"qc\x1b[?5hd\x1b[?69h\x1b[1;9se", "abcde"),
    // Strings that nobody should see.
    (
        b"a\x1b_Gf=100,t=f;L2V0Yw==\x1b\\b\x1b^pm\x1b\\c\x1bXsos\x1b\\d",
        "abcd",
    ),
    (b"a\x1bPq#0;2;0;0;0~~\x1b\\b", "ab"),
    (b"a\x1b]x\x1b\x1b]52;c;x\x07b", "ab"),
    (b"a\x1b]52;c;x\x18b\x1b]52;c;y\x1ac", "abc"),
    (b"a\x1b]52;c;x\x1b[31mb", "a\x1b[31mb"),
    (b"a\x1b]52;c;\nx\x07b", "ab"),
    // Character sets other than line drawing, UTF-8 left, 8-bit controls asked for.
    (
        b"a\x1b(Ab\x1b%@c\x1b%Gd\x1b G\x1b Fe\x1b*0f\x1b$(Dg\x1bnh\x1bNi",
        "abcdefghi",
    ),
    // A sequence in a sequence.
    (b"a\x1b[3\x1b[5nb\x1b[3\x18c\x1b\x1b\x1b]0;x\x07d", "abcd"),
    (b"a\x1b[5\x07nb\x1b[6\x05nc\x1b[\x006nd", "abcd"),
    // C1 controls: as bytes they are no UTF-8, as characters nothing.
    (
        b"a\x9b6nb\x9d0;x\x07c\x90x\x9cd",
        "a\u{fffd}6nb\u{fffd}0;xc\u{fffd}x\u{fffd}d",
    ),
    (
        "a\u{9b}6nb\u{9d}52;c;x\u{9c}c\u{85}\u{90}".as_bytes(),
        "a6nb52;c;xc",
    ),
    (
        b"a\xc0\x9b6nb\xe0\x82\x9b6nc",
        "a\u{fffd}\u{fffd}6nb\u{fffd}\u{fffd}\u{fffd}6nc",
    ),
    (b"a\x1b[\xc2\x9b6nb\x1b[\xff6nc", "a6nb\u{fffd}6nc"),
    // What keeps a reader busy.
    (
        b"a\x1b[2147483647bb\x1b[99999999999Sc\x1b[4000000000;1Hd",
        "a\x1b[999bb\x1b[999Sc\x1b[9999;1Hd",
    ),
    // A line that reads otherwise than it is.
    ("a\u{202e}b\u{2066}c\u{2069}d".as_bytes(), "abcd"),
    (b"a\0b\x7fc\x11d\x13e", "abcde"),
];

#[test]
fn what_acts_on_a_reader_is_gone() {
    for (input, left) in ATTACKS {
        assert_eq!(shown(input), *left, "{}", input.escape_ascii());
        let mut filter = ScreenFilter::new();
        let bytes: String = input.iter().map(|byte| filter.push(&[*byte])).collect();
        assert_eq!(bytes, *left, "{}", input.escape_ascii());
    }
}

#[test]
fn attacks_one_after_the_other_are_gone_too() {
    let all: Vec<u8> = ATTACKS
        .iter()
        .flat_map(|(input, _)| *input)
        .copied()
        .collect();
    let left: String = ATTACKS.iter().map(|(_, left)| *left).collect();
    assert_eq!(shown(&all), left);
    assert_eq!(judged(&left), Vec::<String>::new());
}

#[test]
fn the_judge_sees_attacks() {
    for (input, left) in ATTACKS {
        if let Ok(input) = std::str::from_utf8(input) {
            assert_ne!(
                judged(input),
                Vec::<String>::new(),
                "{}",
                input.escape_debug()
            );
        }
        assert_eq!(judged(left), Vec::<String>::new());
    }
}

#[test]
fn what_draws_a_screen_stays() {
    for input in [
        "ünï 漢字 🙂 e\u{301} \u{200f}שלום",
        "a\tb\r\nc\u{8}d\u{b}e\u{c}f\u{e}lqk\u{f}g",
        "\x1b[H\x1b[2J\x1b[3J\x1b[J\x1b[K\x1b[1K\x1b[12;40H\x1b[;5f\x1b[9999;9999H",
        "\x1b[A\x1b[2B\x1b[C\x1b[3D\x1b[E\x1b[F\x1b[7G\x1b[7`\x1b[4d",
        "\x1b[2@\x1b[L\x1b[2M\x1b[P\x1b[3S\x1b[T\x1b[4X\x1b[Z\x1b[5b",
        "\x1b[2;20r\x1b[r\x1b7\x1b8\x1b[s\x1b[u\x1bD\x1bE\x1bM\x1bH\x1b[g\x1b[3g",
        "\x1b[?1049h\x1b[?1049l\x1b[?47h\x1b[?1047l\x1b[?25l\x1b[?7l\x1b[?6h\x1b[?1;25h\x1b[4h\x1b[4l",
        "\x1b(0lqk\x1b(B\x1b)0\x1b)B\x1b=\x1b>\x1b#8\x1bc",
        "\x1b[m\x1b[0m\x1b[1;31m\x1b[38;5;196m\x1b[48;2;1;2;3m\x1b[4:3m\x1b[38:2::1:2:3m\x1b[;7m\x1b[58:5:1m",
    ] {
        assert_eq!(shown(input.as_bytes()), input);
        assert_eq!(judged(input), Vec::<String>::new());
    }
}

#[test]
fn a_control_in_a_sequence_is_carried_out_first() {
    assert_eq!(shown(b"a\x1b[3\n1mb"), "a\n\x1b[31mb");
    assert_eq!(shown(b"a\x1b\r[31mb"), "a\r\x1b[31mb");
}

#[test]
fn what_is_not_complete_waits() {
    let mut filter = ScreenFilter::new();
    for (piece, out) in [
        (&b"a\x1b"[..], "a"),
        (b"[3", ""),
        (b"1", ""),
        (b"mb\xe2\x82", "\x1b[31mb"),
        (b"\xac\x1b]52;c;", "€"),
        (b"secret", ""),
        (b"\x1b", ""),
        (b"\\c\x1b(", "c"),
        (b"0", "\x1b(0"),
    ] {
        assert_eq!(filter.push(piece), out, "{}", piece.escape_ascii());
    }
}

#[test]
fn the_colours_in_force_are_known() {
    let mut filter = ScreenFilter::new();
    let mut pen = |input: &str| {
        filter.push(input.as_bytes());
        filter.pen().to_owned()
    };
    assert_eq!(pen("a"), "");
    assert_eq!(pen("\x1b[1m\x1b[31mb"), "\x1b[1m\x1b[31m");
    assert_eq!(pen("\x1b[0;32mb"), "\x1b[0;32m");
    assert_eq!(pen("\x1b[m"), "\x1b[m");
    assert_eq!(pen("\x1b[7m\x1bc"), "");
    assert!(pen(&"\x1b[38;5;100m".repeat(1000)).len() <= MAX_PEN);
}

#[test]
fn little_is_kept_of_what_never_ends() {
    for begin in [
        "\x1b[",
        "\x1b[?",
        "\x1b]52;c;",
        "\x1bP",
        "\x1b_",
        "\x1b(",
        "\x1bk",
        "\x1b[",
    ] {
        let mut filter = ScreenFilter::new();
        assert_eq!(filter.push(begin.as_bytes()), "");
        for _ in 0..100 {
            assert_eq!(filter.push(&[b'1'; 100]).replace('1', ""), "");
            let kept = match &filter.state {
                State::Control(parameters) => parameters.len(),
                _ => 0,
            };
            assert!(kept <= MAX_CONTROL && filter.decoder.held() < 4);
        }
        // The next sequence ends it.
        assert_eq!(filter.push(b"\x1b[mend"), "\x1b[mend", "{begin:?}");
    }
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let attack = prop::sample::select(ATTACKS).prop_map(|(input, _)| input.to_vec());
    let half = (prop::sample::select(ATTACKS), any::<prop::sample::Index>())
        .prop_map(|((input, _), at)| input[..at.index(input.len())].to_vec());
    let piece = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        any::<char>().prop_map(|c| c.to_string().into_bytes()),
        "\x1b[\\[\\]P_^Xk()#78c=>][0-9;:?>=! $\"']{0,6}[@-~]".prop_map(String::into_bytes),
        "\x1b\\[\\??[0-9;]{0,12}[@-~]".prop_map(String::into_bytes),
        attack,
        half,
        prop::sample::select(vec![
            &b"\x1b"[..],
            b"\x1b[",
            b"\x1b]",
            b"\x1bP",
            b"\x1b\\",
            b"\x1bk",
            b"\x07",
            b"\x18",
            b"\x9b",
            b"\xc2\x9b",
            b"\xc2\x9c",
            b"\xc2\x9d",
            b"\xe2\x80\xae",
            b"\xf0\x9f",
            b"\r\n",
            b"\x1b[?1;1000",
            b"text",
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn only_what_is_listed_comes_through(input in hostile()) {
        let output = shown(&input);
        prop_assert_eq!(judged(&output), Vec::<String>::new(), "{:?}", output);
    }

    #[test]
    fn cuts_change_nothing(input in hostile(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.push(input.len());
        cuts.sort_unstable();
        let mut filter = ScreenFilter::new();
        let (mut output, mut from) = (String::new(), 0);
        for cut in cuts {
            let piece = filter.push(&input[from..cut]);
            // Each piece can be written on its own.
            prop_assert_eq!(judged(&piece), Vec::<String>::new());
            output.push_str(&piece);
            from = cut;
        }
        prop_assert_eq!(output, shown(&input));
        let mut filter = ScreenFilter::new();
        let bytes: String = input.iter().map(|byte| filter.push(&[*byte])).collect();
        prop_assert_eq!(bytes, shown(&input));
    }

    #[test]
    fn what_came_through_comes_through_again(input in hostile()) {
        let once = shown(&input);
        prop_assert_eq!(shown(once.as_bytes()), once);
    }

    #[test]
    fn plain_text_is_left_alone(input in "([^\\p{Cc}\u{202a}-\u{202e}\u{2066}-\u{2069}]|[\r\n\t])*") {
        prop_assert_eq!(shown(input.as_bytes()), input);
    }

    #[test]
    fn it_never_becomes_more(input in hostile()) {
        // But for U+FFFD, which is three bytes for one, and a mode, which is a sequence for a part of one.
        prop_assert!(shown(&input).len() <= 3 * input.len());
    }
}
