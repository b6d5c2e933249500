//! `mkproxy explain`: a request to a proxy that has just started with a configuration.

use monkey_proxy_reverse::engine::explain::{Outcome, Question, of_config};

use crate::check;
use crate::cli::{Answer, Explain, Failure, Status};
use crate::say;

/// Says what would become of it.
pub fn run(command: &Explain) -> Result<Status, Failure> {
    let Some(config) = check::good(&command.file)? else { return Ok(Status::Failed) };
    let question = Question {
        method: &command.method,
        host: command.host.as_deref(),
        client: command.ip,
        ..Question::get(&command.url)
    };
    let answer = of_config(&config, &question)?;
    match command.format {
        Answer::Text => say::line(answer.to_string().trim_end()),
        Answer::Json => say::line(serde_json::to_string(&answer)?),
    }
    Ok(match answer.outcome {
        Outcome::Forwarded | Outcome::Statistics => Status::Well,
        _ => Status::Failed,
    })
}
