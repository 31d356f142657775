//! The user's document, taken apart: what it tells to type, and what it says comes of it.

/// A line of a block of shell commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// The heading it is below.
    pub(super) section: String,
    /// What is typed, without its remark.
    pub(super) line: String,
    /// What the document says it prints: the comments that follow `# Output:` or `# Expected:`.
    pub(super) output: Vec<String>,
}

/// A block of something else than commands, such as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) section: String,
    /// `yaml`, `ini` ...; empty if the document doesn't say.
    pub(super) language: String,
    pub(super) text: String,
}

/// Everything between fences, in the document's order.
pub(super) fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut section = String::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let inside = lines
                .by_ref()
                .take_while(|line| line.trim() != "```")
                .map(|line| line.get(indent..).unwrap_or(line.trim_start()));
            blocks.push(Block {
                section: section.clone(),
                language: language.to_owned(),
                text: inside.collect::<Vec<_>>().join("\n"),
            });
        } else if line.starts_with('#') {
            section = line.trim_start_matches('#').trim().to_owned();
        }
    }
    blocks
}

/// The commands of one block of them.
pub(super) fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut tells = false;
    for line in block.text.lines() {
        if let Some(remark) = line.trim_start().strip_prefix('#') {
            let remark = remark.trim();
            if let Some(step) = steps.last_mut() {
                if let Some(expected) = remark.strip_prefix("Expected:") {
                    step.output.push(expected.trim().to_owned());
                } else if remark == "Output:" {
                    tells = true;
                } else if tells {
                    step.output.push(remark.to_owned());
                }
            }
            continue;
        }
        tells = false;
        let command = line.split("  #").next().unwrap_or(line);
        let command = command.split(" # ").next().unwrap_or(command).trim();
        if !command.is_empty() {
            steps.push(Step {
                section: block.section.clone(),
                line: command.to_owned(),
                output: Vec::new(),
            });
        }
    }
    steps
}

#[test]
fn commands_remarks_and_outputs_are_told_apart() {
    let document = "# A\n```bash\n# About\ncd x && y   # remark\nlist # remark\n# Output:\n# - one\n\necho \"a#b\"\n```\n\
                    ## B\n1. do:\n   ```yaml\n   a:\n     b: 1\n   ```\n";
    let blocks = blocks(document);
    assert_eq!(blocks.len(), 2);
    let lines: Vec<_> = steps(&blocks[0])
        .into_iter()
        .map(|step| (step.line, step.output))
        .collect();
    assert_eq!(
        lines,
        [
            ("cd x && y".to_owned(), vec![]),
            ("list".to_owned(), vec!["- one".to_owned()]),
            ("echo \"a#b\"".to_owned(), vec![]),
        ]
    );
    assert_eq!((&*blocks[1].section, &*blocks[1].text), ("B", "a:\n  b: 1"));
}
