//! What differs between two texts, line by line.

/// Lines around a change that are shown with it.
const AROUND: usize = 2;
/// The most cells of the table that is filled in to find what two texts have in common. Beyond, the middle of both is shown
/// as if it had nothing in common.
const MOST_CELLS: usize = 4_000_000;

/// A line of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Both(&'a str),
    Left(&'a str),
    Right(&'a str),
}

/// The lines in which `left` and `right` differ, with a little of what is around them: `-` is of the left one, `+` of the
/// right one.
pub(super) fn diff(left: &str, right: &str) -> Vec<String> {
    let (left, right): (Vec<_>, Vec<_>) = (left.lines().collect(), right.lines().collect());
    let lines = compared(&left, &right);
    let changes = |line: &Line<'_>| !matches!(line, Line::Both(_));
    let near = |at: usize| {
        let from = at.saturating_sub(AROUND);
        let to = (at + AROUND + 1).min(lines.len());
        lines[from..to].iter().any(changes)
    };
    let mut shown = Vec::new();
    let mut left_out = false;
    for (at, line) in lines.iter().enumerate() {
        if !near(at) {
            left_out = true;
            continue;
        }
        if left_out && at > 0 {
            shown.push("  ...".to_owned());
        }
        left_out = false;
        shown.push(match line {
            Line::Both(text) => format!("  {text}"),
            Line::Left(text) => format!("- {text}"),
            Line::Right(text) => format!("+ {text}"),
        });
    }
    if left_out && !shown.is_empty() {
        shown.push("  ...".to_owned());
    }
    shown
}

fn compared<'a>(left: &[&'a str], right: &[&'a str]) -> Vec<Line<'a>> {
    let pairs = || left.iter().zip(right);
    let begin = pairs().take_while(|(a, b)| a == b).count();
    let rest = left.len().min(right.len()) - begin;
    let ends = left.iter().rev().zip(right.iter().rev());
    let end = ends.take(rest).take_while(|(a, b)| a == b).count();
    let (left_middle, right_middle) = (
        &left[begin..left.len() - end],
        &right[begin..right.len() - end],
    );
    let mut lines: Vec<_> = left[..begin].iter().map(|line| Line::Both(line)).collect();
    middle(left_middle, right_middle, &mut lines);
    lines.extend(left[left.len() - end..].iter().map(|line| Line::Both(line)));
    lines
}

/// The longest common part of two lists of lines, by a table of how long it is from each place on.
fn middle<'a>(left: &[&'a str], right: &[&'a str], lines: &mut Vec<Line<'a>>) {
    let width = right.len() + 1;
    let mut common: Vec<u32> = Vec::new();
    if left.len().saturating_mul(right.len()) <= MOST_CELLS {
        common.resize((left.len() + 1) * width, 0);
        for a in (0..left.len()).rev() {
            for b in (0..right.len()).rev() {
                common[a * width + b] = match left[a] == right[b] {
                    true => common[(a + 1) * width + b + 1] + 1,
                    false => common[(a + 1) * width + b].max(common[a * width + b + 1]),
                };
            }
        }
    }
    let at = |a: usize, b: usize| common.get(a * width + b).copied().unwrap_or(0);
    let (mut a, mut b) = (0, 0);
    while a < left.len() || b < right.len() {
        if a < left.len() && b < right.len() && left[a] == right[b] && at(a, b) > 0 {
            lines.push(Line::Both(left[a]));
            (a, b) = (a + 1, b + 1);
        } else if a < left.len() && (b == right.len() || at(a + 1, b) >= at(a, b + 1)) {
            lines.push(Line::Left(left[a]));
            a += 1;
        } else {
            lines.push(Line::Right(right[b]));
            b += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_shown_with_a_little_around_it() {
        let left = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let right = "1\n2\n3\n4\nfive\n6\n7\n8\n9\nten\n";
        assert_eq!(
            diff(left, right),
            [
                "  ...", "  3", "  4", "- 5", "+ five", "  6", "  7", "  8", "  9", "+ ten"
            ]
        );
        assert_eq!(diff("a\n", "a\n"), [""; 0]);
        assert_eq!(diff("", "a"), ["+ a"]);
        assert_eq!(diff("a", ""), ["- a"]);
        assert_eq!(diff("a\nb\nc\nd", "x\nb\nc\nd")[..2], ["- a", "+ x"]);
    }

    #[test]
    fn both_texts_can_be_read_from_their_comparison() {
        let words = ["a", "b", "c", "d", "e"];
        // Every pair of short texts over few words.
        let texts: Vec<Vec<&str>> = (0..200usize)
            .map(|n| (0..n % 5).map(|i| words[(n * 7 + i * n) % 5]).collect())
            .collect();
        for left in &texts {
            for right in &texts {
                let lines = compared(left, right);
                let of = |skip: fn(&Line<'_>) -> bool| -> Vec<&str> {
                    let kept = lines.iter().filter(|line| !skip(line));
                    kept.map(|line| match line {
                        Line::Both(text) | Line::Left(text) | Line::Right(text) => *text,
                    })
                    .collect()
                };
                assert_eq!(&of(|line| matches!(line, Line::Right(_))), left);
                assert_eq!(&of(|line| matches!(line, Line::Left(_))), right);
            }
        }
    }

    #[test]
    fn texts_that_are_too_long_to_compare_are_shown_as_they_are() {
        let many = |with: &str| {
            (0..2_100)
                .map(|n| format!("{with}{n}\n"))
                .collect::<String>()
        };
        let shown = diff(&many("a"), &many("b"));
        assert_eq!(shown.len(), 4_200);
    }
}
