//! The dossier as Markdown, with its plots as files beside it.

use super::{
    super::{
        markdown::{Page, escape},
        plot,
    },
    Block, Dossier, MarkdownDossier, code_parts,
};

pub(super) fn markdown(dossier: &Dossier, stem: &str) -> MarkdownDossier {
    let mut page = Page::new(&format!("Model-change dossier: {}", dossier.title));
    page.text(&dossier.subtitle);
    page.list(&dossier.summary);
    for (index, chapter) in dossier.chapters.iter().enumerate() {
        page.heading(&format!("{}. {}", index + 1, chapter.title));
        for block in &chapter.blocks {
            match block {
                Block::Text(text) => page.line(&prose(text)),
                Block::List(items) => {
                    page.line(&items.iter().map(|item| format!("- {}", prose(item))).collect::<Vec<_>>().join("\n"))
                }
                Block::Heading(text) => page.subheading(text),
                Block::Table(table) => page.grid(table, "None."),
                Block::Form(table) => page.grid(table, ""),
                Block::Blank(question) => page.text(&format!("To be filled in. {question}: …")),
                Block::Plot(name, caption, svg) => page.plot(&format!("{stem}.{name}"), caption, Some(svg.clone())),
                Block::Code(text) => page.code(text),
            }
        }
    }
    let (text, plots) = page.finish();
    MarkdownDossier { text, plots }
}

/// A text in which what is between backticks is code.
fn prose(text: &str) -> String {
    let part = |(index, part): (usize, &str)| {
        if index % 2 == 1 { format!("`{}`", plot::clean(part).replace(['\n', '\r'], " ")) } else { escape(part) }
    };
    code_parts(text).into_iter().enumerate().map(part).collect()
}
