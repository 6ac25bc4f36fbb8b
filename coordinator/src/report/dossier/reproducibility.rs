//! What names the inputs and outputs, and how to compute them again.

use secateur_proto::SEMANTICS_VERSION;

use super::{Block, Chapter, DossierSource, facts};

pub(super) fn chapter(source: &DossierSource<'_>) -> Option<Chapter> {
    let DossierSource { report, trial, .. } = source;
    let mut lines = vec![
        ("sweep".to_owned(), report.sweep.id.to_string()),
        ("sweep file".to_owned(), report.sweep.file_hash.to_string()),
        ("data".to_owned(), report.data.hash.to_string()),
    ];
    lines.extend(report.sweep.weights.iter().map(|weights| ("weights".to_owned(), weights.hash.to_string())));
    lines.push(("trial".to_owned(), trial.id.to_string()));
    lines.extend(trial.artifacts.iter().map(|(role, hash)| (format!("file: {role}"), hash.to_string())));
    lines.push(("program".to_owned(), format!("secateur {} (semantics {SEMANTICS_VERSION})", source.program)));
    let again = match source.recipe {
        Some(_) => {
            "Save the sweep file of this dossier where the sweep's own file was and compute it with `secateur run FILE`."
        }
        None => "Compute the sweep's own file with `secateur run FILE`.",
    };
    let steps = vec![
        again.to_owned(),
        "Compare the hashes of the trial's files in report.json with those above. On the device `cpu` they are equal bit for bit, \
         whatever the number of workers. On other devices results differ by rounding."
            .to_owned(),
        format!("`secateur export {}` writes the net as ONNX and safetensors, with a model card and test rows.", trial.id),
        "`secateur tables --only scores --out DIR` writes the score of every validation and test row, from which each metric follows.".to_owned(),
    ];
    let blocks = vec![
        Block::Text("Hashes are BLAKE3 of content.".to_owned()),
        facts(lines),
        Block::Heading("To compute it again"),
        Block::List(steps),
    ];
    Some(Chapter::new("Reproducibility", blocks))
}
