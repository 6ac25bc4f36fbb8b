//! The dossier as one HTML file that is made to be printed: no scripts, nothing from outside.

use super::{
    super::{
        html::{fill, grid, list},
        plot::escape,
    },
    Block, Dossier, code_parts,
};

const TEMPLATE: &str = include_str!("../page/dossier.html");
const STYLE: &str = include_str!("../page/style.css");
const OWN_STYLE: &str = include_str!("../page/dossier.css");

pub(super) fn html(dossier: &Dossier) -> String {
    fill(TEMPLATE, |slot| match slot {
        "style" => format!("{STYLE}{OWN_STYLE}"),
        "title" => escape(&dossier.title),
        "subtitle" => escape(&dossier.subtitle),
        "summary" => list(&dossier.summary),
        "contents" => (dossier.chapters.iter().enumerate())
            .map(|(index, chapter)| {
                format!("<li><a href=\"#chapter-{0}\">{1}</a></li>\n", index + 1, escape(chapter.title))
            })
            .collect(),
        "chapters" => (dossier.chapters.iter().enumerate())
            .map(|(index, chapter)| {
                let blocks: String = chapter.blocks.iter().map(block).collect();
                format!(
                    "<section id=\"chapter-{0}\">\n<h2>{0}. {1}</h2>\n{blocks}</section>\n",
                    index + 1,
                    escape(chapter.title)
                )
            })
            .collect(),
        _ => String::new(),
    })
}

fn block(block: &Block) -> String {
    match block {
        Block::Text(text) => format!("<p>{}</p>\n", prose(text)),
        Block::List(items) => {
            let items: String = items.iter().map(|item| format!("<li>{}</li>\n", prose(item))).collect();
            format!("<ul>\n{items}</ul>\n")
        }
        Block::Heading(text) => format!("<h3>{}</h3>\n", escape(text)),
        Block::Table(table) => grid(table, "None."),
        Block::Form(table) => format!("<div class=\"form\">{}</div>\n", grid(table, "")),
        Block::Blank(question) => {
            format!("<div class=\"blank\"><p>To be filled in. {}:</p></div>\n", escape(question))
        }
        Block::Plot(_, caption, svg) => {
            format!("<figure><div class=\"scroll\">{svg}</div><figcaption>{}</figcaption></figure>\n", escape(caption))
        }
        Block::Code(text) => format!("<pre><code>{}</code></pre>\n", escape(text.trim_end())),
    }
}

/// A text in which what is between backticks is code.
fn prose(text: &str) -> String {
    let part = |(index, part): (usize, &str)| {
        if index % 2 == 1 { format!("<code>{}</code>", escape(part)) } else { escape(part) }
    };
    code_parts(text).into_iter().enumerate().map(part).collect()
}
