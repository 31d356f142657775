//! Writing HTML in which nothing but this program's own words is markup.

/// A piece of HTML. Names of elements and attributes are the program's own; everything else is escaped.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    pub(super) fn into_string(self) -> String {
        self.0
    }

    /// Begins an element; an attribute with an empty value is left out.
    pub(super) fn open(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) {
        self.0.push('<');
        self.0.push_str(name);
        for (attribute, value) in attributes.iter().filter(|(_, value)| !value.is_empty()) {
            self.0.push(' ');
            self.0.push_str(attribute);
            self.0.push_str("=\"");
            self.text(value);
            self.0.push('"');
        }
        self.0.push('>');
    }

    pub(super) fn close(&mut self, name: &'static str) {
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
        if !matches!(name, "a" | "code" | "span" | "strong") {
            self.0.push('\n');
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '&' => self.0.push_str("&amp;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
    }

    /// An element that holds text alone.
    pub(super) fn element(
        &mut self,
        name: &'static str,
        attributes: &[(&'static str, &str)],
        text: &str,
    ) {
        self.open(name, attributes);
        self.text(text);
        self.close(name);
    }

    /// An element that holds prose.
    pub(super) fn says(&mut self, name: &'static str, text: &str) {
        self.open(name, &[]);
        self.prose(text);
        self.close(name);
    }

    pub(super) fn code(&mut self, text: &str) {
        self.element("code", &[], text);
    }

    pub(super) fn link(&mut self, to: &str, text: &str) {
        self.element("a", &[("href", to)], text);
    }

    /// Text in which backticks are around code.
    pub(super) fn prose(&mut self, text: &str) {
        for (at, part) in text.split('`').enumerate() {
            if at % 2 == 0 {
                self.text(part);
            } else {
                self.code(part);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_not_ours_is_escaped() {
        let mut html = Html::default();
        html.element("p", &[("id", "\"><script>")], "<b>&'");
        html.says("p", "a `<i>` b");
        html.open("br", &[("class", "")]);
        assert_eq!(
            html.into_string(),
            "<p id=\"&quot;&gt;&lt;script&gt;\">&lt;b&gt;&amp;&#39;</p>\n<p>a <code>&lt;i&gt;</code> b</p>\n<br>"
        );
    }
}
