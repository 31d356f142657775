use proptest::prelude::*;

use super::*;

/// What a filter makes of `input`, with the end of its colours.
fn shown(input: &[u8]) -> String {
    let mut filter = Filter::default();
    let mut text = filter.push(input);
    text.push_str(filter.reset());
    text
}

/// Whether nothing acts on a terminal but newlines, tabs and colours, which are ended.
fn is_harmless(text: &str) -> bool {
    let mut rest = text;
    let mut coloured = false;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let acts = c.is_control() && !matches!(c, '\n' | '\t');
        let reorders =
            ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
        if c == '\u{1b}' {
            let Some((parameters, after)) =
                rest.strip_prefix('[').and_then(|rest| rest.split_once('m'))
            else {
                return false;
            };
            if !parameters
                .chars()
                .all(|c| c.is_ascii_digit() || c == ';' || c == ':')
            {
                return false;
            }
            coloured = parameters.contains(|c| c != '0' && c != ';');
            rest = after;
        } else if acts || reorders {
            return false;
        }
    }
    !coloured
}

#[test]
fn what_acts_on_a_terminal_is_gone() {
    for (input, expected) in [
        (&b"a\x1b]0;title\x07b"[..], "ab"),
        (b"a\x1b]52;c;aGk=\x1b\\b", "ab"),
        (b"a\x1b]8;;http://x\nb", "a\nb"),
        (b"a\x1bP1$r0m\x1b\\b", "ab"),
        (b"a\x1bP1\nq\x07\x1b\\b", "ab"),
        (b"a\x1b_Gf=100\x1b\\b", "ab"),
        (b"a\x1b^pm\x1b\\b\x1bXsos\x1b\\c", "abc"),
        (b"a\x1bktitle\x1b\\b", "ab"),
        (b"a\x1b]x\x1b\x1b\\b", "ab"),
        (b"a\x1b]x\x18b\x1bPx\x1ac", "abc"),
        (b"a\x1b[6nb\x1b[cb\x1b[>0q\x1b[?1049h", "abb"),
        (b"a\x1b[2J\x1b[H\x1bcb\x1b(0c\x1b$(Dd", "abcd"),
        (b"a\x1b[>4;2mb", "ab"),
        (b"a\x1b[0 mb", "ab"),
        (b"a\x1b]x\x1b[31mred", "a\x1b[31mred\x1b[0m"),
        (b"a\x1b\x1b[31mb", "a\x1b[31mb\x1b[0m"),
        (b"a\x1b[3\x181mb", "a1mb"),
        (b"a\x1b[3\n1mb", "a\n1mb"),
        (
            b"bell\x07 \x05enq \x0eso \x08back \x7fdel",
            "bell enq so back del",
        ),
        (b"cut\x1b", "cut"),
        (b"raw \x9b31m", "raw \u{fffd}31m"),
        (b"cut \xe2\x82\x1b[0m", "cut \u{fffd}\x1b[0m"),
    ] {
        assert_eq!(shown(input), expected, "{}", input.escape_ascii());
    }
    for (input, expected) in [
        ("\u{9b}31mred", "\x1b[31mred\x1b[0m"),
        ("a\u{9b}2Jb\u{85}c\u{84}", "abc"),
        ("a\u{9d}0;t\u{9c}b\u{9d}0;t\u{7}c", "abc"),
        (
            "a\u{90}x\u{9c}b\u{98}x\u{9c}c\u{9e}x\u{9c}d\u{9f}x\x1b\\e",
            "abcde",
        ),
        ("a\u{202e}b\u{202a}c\u{2066}d\u{2069}e", "abcde"),
        ("a\x1b[3öb", "aöb"),
    ] {
        assert_eq!(shown(input.as_bytes()), expected, "{input:?}");
    }
}

#[test]
fn text_and_colours_stay() {
    let input = "ünï 漢字 🙂 \u{200f}שלום\u{200e}\n\t\x1b[1;38;2;1;2;3mx\x1b[m \x1b[4:3my\x1b[0m";
    assert_eq!(shown(input.as_bytes()), input);
}

#[test]
fn a_carriage_return_writes_over_nothing() {
    for (input, expected) in [
        ("a\r\nb\r\n\r\nc", "a\nb\n\nc"),
        ("\r\na", "\na"),
        ("safe\rhidden", "safe\nhidden"),
        ("\r10%\r20%\r\x1b[K30%\n", "10%\n20%\n30%\n"),
        ("a\r\r\nb\r\x1b[0m\nc\r", "a\nb\n\x1b[0mc\n"),
        ("a\r\n\nb", "a\n\nb"),
        ("a\rb\nc", "a\nb\nc"),
    ] {
        assert_eq!(shown(input.as_bytes()), expected, "{input:?}");
    }
}

#[test]
fn only_an_open_colour_is_ended() {
    for (input, end) in [
        ("a", ""),
        ("\x1b[31ma", RESET),
        ("\x1b[31ma\x1b[m", ""),
        ("\x1b[31ma\x1b[0m", ""),
        ("\x1b[48;5;0ma", RESET),
        ("\x1b[0;31ma", RESET),
    ] {
        let mut filter = Filter::default();
        filter.push(input.as_bytes());
        assert_eq!(filter.reset(), end, "{input:?}");
        assert_eq!(filter.reset(), "", "{input:?}");
    }
}

#[test]
fn colours_can_go_too() {
    let mut filter = Filter::new(false);
    assert_eq!(filter.push(b"a\x1b[1;31mb\x1b[0m\x1b[32mc"), "abc");
    assert_eq!(filter.reset(), "");
    assert_eq!(plain("a\n\tb\x1b[31mc"), "a\n\tbc");
    assert_eq!(line("a\r\nb\tc\x1b[31md"), "a b cd");
}

#[test]
fn what_never_ends_does_not_swallow_the_rest() {
    for begin in [
        "\x1bP", "\x1b_", "\x1b^", "\x1bX", "\x1b]", "\u{90}", "\u{9d}",
    ] {
        let input = format!("{begin}{}end", "x".repeat(MAX_STRING));
        assert_eq!(shown(input.as_bytes()), "end", "{begin:?}");
    }
    for begin in ["\x1b]0;t", "\x1bkt", "\x1b[", "\x1b[1;", "\x1b(", "\x1b"] {
        let input = format!("{begin}\nend");
        assert_eq!(shown(input.as_bytes()), "\nend", "{begin:?}");
    }
    let many = |begin: &str, with: &str, count| format!("{begin}{}", with.repeat(count));
    assert_eq!(shown(many("\x1b[", "1", MAX_CONTROL + 3).as_bytes()), "111");
    assert_eq!(
        shown(many("\x1b", "(", MAX_INTERMEDIATE + 3).as_bytes()),
        "((("
    );
}

#[test]
fn little_is_kept_of_what_is_not_complete() {
    let mut filter = Filter::default();
    for begin in ["\x1b[", "\x1bP", "\u{9d}", "\x1b"] {
        filter.push(begin.as_bytes());
        for _ in 0..MAX_CONTROL * 2 {
            filter.push(b"1");
            let kept = match &filter.state {
                State::Control(parameters) => parameters.len(),
                _ => 0,
            };
            assert!(kept + filter.decoder.held() <= MAX_CONTROL);
        }
    }
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        any::<char>().prop_map(|c| c.to_string().into_bytes()),
        prop::sample::select(vec![
            &b"\x1b"[..],
            b"\x1b[",
            b"\x1b[31m",
            b"\x1b[0m",
            b"\x1b[2J",
            b"\x1b]0;",
            b"\x1bP",
            b"\x1b\\",
            b"\x1b(",
            b"\x07",
            b"m",
            b"31",
            b";",
            b"\xc2\x9b",
            b"\xc2\x9c",
            b"\xc2\x9d",
            b"\xc2\x90",
            b"\xe2\x80\xae",
            b"\n",
            b"\r",
            b"\r\n",
            b"\x08",
            b"\x18",
            b"text",
            "é".as_bytes(),
            b"\xf0\x9f",
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_harmful_comes_through(input in hostile()) {
        let output = shown(&input);
        prop_assert!(is_harmless(&output), "{:?}", output);
        let mut plain = Filter::new(false);
        prop_assert!(!plain.push(&input).contains('\x1b'));
    }

    #[test]
    fn cuts_change_nothing(input in hostile(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.push(input.len());
        cuts.sort_unstable();
        let mut filter = Filter::default();
        let (mut output, mut from) = (String::new(), 0);
        for cut in cuts {
            output.push_str(&filter.push(&input[from..cut]));
            from = cut;
        }
        output.push_str(filter.reset());
        prop_assert_eq!(output, shown(&input));
    }

    #[test]
    fn every_byte_alone_changes_nothing(input in hostile()) {
        let mut filter = Filter::default();
        let mut output: String = input.iter().map(|byte| filter.push(&[*byte])).collect();
        output.push_str(filter.reset());
        prop_assert_eq!(output, shown(&input));
    }

    #[test]
    fn what_is_harmless_is_left_alone(input in hostile()) {
        let once = shown(&input);
        prop_assert_eq!(shown(once.as_bytes()), once);
    }

    #[test]
    fn plain_text_is_left_alone(input in "([^\\p{Cc}\u{202a}-\u{202e}\u{2066}-\u{2069}]|[\n\t])*") {
        prop_assert_eq!(shown(input.as_bytes()), input.as_str());
        prop_assert_eq!(plain(&input), input);
    }
}
