//! `secateur strategies`: what `pruning.strategy` of a sweep file can name.

use std::process::ExitCode;

use secateur_worker::prune::criteria::{Needs, ParameterDefinition, When};
use serde_json::json;

use super::{
    error::CliError,
    output::{Output, table},
};
use crate::experiment::setting::{REGULARIZED, Strategy};

#[expect(clippy::unnecessary_wraps, reason = "the form of every verb")]
pub(crate) fn run(output: Output) -> Result<ExitCode, CliError> {
    let strategies = Strategy::all();
    let document: Vec<_> = strategies.iter().map(document).collect();
    output.print(&document, || {
        let rows = strategies.iter().map(|strategy| {
            vec![
                std::iter::once(strategy.name).chain(other_names(strategy)).collect::<Vec<_>>().join(", "),
                formula(strategy),
                looks_at(strategy).to_owned(),
                parameters(strategy),
                source(strategy),
            ]
        });
        table(&["strategy", "score (lowest removed first)", "looks at", "parameters", "source"], 5, rows)
    });
    Ok(ExitCode::SUCCESS)
}

fn document(strategy: &Strategy) -> serde_json::Value {
    let parameter = |parameter: &ParameterDefinition| {
        let ParameterDefinition { name, summary, default, range: (least, most), integer } = *parameter;
        json!({"name": name, "summary": summary, "default": default, "least": least, "most": most, "integer": integer})
    };
    let parameters: Vec<_> =
        strategy.criterion.iter().flat_map(|criterion| criterion.parameters).map(parameter).collect();
    json!({
        "name": strategy.name,
        "other_names": other_names(strategy),
        "formula": formula(strategy),
        "looks_at": looks_at(strategy),
        "before_training": strategy.is_initial(),
        "scores_units": strategy.is_of_units(),
        "parameters": parameters,
        "source": source(strategy),
    })
}

/// What the literature calls it besides.
fn other_names(strategy: &Strategy) -> Vec<&'static str> {
    let others = Strategy::OTHER_NAMES.iter().filter(|(_, own)| *own == strategy.name);
    others.map(|(other, _)| *other).collect()
}

/// How it scores.
pub(crate) fn formula(strategy: &Strategy) -> String {
    match (strategy.name, strategy.criterion) {
        ("magnitude_global_l2", _) => "|w| over the 2-norm of its layer".to_owned(),
        ("lamp", _) => "w² over the sum of all w² of its layer that are no smaller".to_owned(),
        ("random_layerwise_matched", _) => "random, as many of each layer as magnitude removes".to_owned(),
        (_, Some(criterion)) => criterion.formula.to_owned(),
        (_, None) => "exactly the weights that a proximal penalty zeroed".to_owned(),
    }
}

/// Where it comes from.
pub(crate) fn source(strategy: &Strategy) -> String {
    match (strategy.name, strategy.criterion) {
        ("magnitude_global_l2", _) => "Lee et al. 2023, JaxPruner, arXiv 2304.14082",
        ("lamp", _) => "Lee et al. 2021, arXiv 2010.07611",
        ("random_layerwise_matched", _) => "Blalock et al. 2020, arXiv 2003.03033",
        (REGULARIZED, _) => "Parikh & Boyd 2014, proximal algorithms",
        (_, Some(criterion)) => criterion.source,
        (_, None) => "",
    }
    .to_owned()
}

fn looks_at(strategy: &Strategy) -> &'static str {
    match strategy.criterion.map(|criterion| (criterion.needs, criterion.when)) {
        None | Some((Needs::Weights, When::Trained)) => "weights",
        Some((Needs::Weights, When::Initial)) => "weights, before training",
        Some((Needs::Gradients, When::Trained)) => "gradients",
        Some((Needs::Gradients, When::Initial)) => "gradients, before training",
        Some((Needs::Activations, _)) => "activations",
        Some((Needs::Training, _)) => "its own training",
    }
}

fn parameters(strategy: &Strategy) -> String {
    let parameters = strategy.criterion.iter().flat_map(|criterion| criterion.parameters);
    parameters.map(|parameter| format!("{} {}", parameter.name, parameter.default)).collect::<Vec<_>>().join(", ")
}
