//! `tellonce mcp`: answers the questions of an assistant about a stack, over the Model Context
//! Protocol on standard input and output.
//!
//! Promises: every tool only reads, with the rights of the profile that it is started with. An
//! answer holds no number, name, text or secret of a customer: numbers are masked, and texts are
//! left out.

use std::sync::Arc;

use rmcp::{
    ServerHandler, ServiceExt as _,
    handler::server::wrapper::Parameters,
    model::{CallToolResult, ContentBlock, Implementation, ServerCapabilities, ServerConfig},
    schemars, tool, tool_handler, tool_router,
    transport::stdio,
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    command_output::CommandOutput,
    explain::{self, Answer},
    overview::{self, Question},
    stack_arguments::{StackArguments, block_on},
};

const INSTRUCTIONS: &str = "Questions about one tellonce stack, which sends WhatsApp messages about orders, appointments \
    and leads. Begin with `status`. For one order, appointment or lead call `explain` with its subject, such as \
    order:1001. If a customer got no message, call `explain_absence` with the key of the message, such as \
    order:1001:ready. All tools only read. Answers are masked: they name no customer and hold no texts. Commands \
    that change something are for a person: propose them with `tellonce …`.";

#[derive(clap::Args)]
pub(crate) struct McpArguments {
    #[command(flatten)]
    stack: StackArguments,
}

/// Answers until standard input ends.
pub(crate) fn serve(arguments: &McpArguments) -> anyhow::Result<CommandOutput> {
    block_on(async {
        let server = McpServer { stack: Arc::new(arguments.stack.clone()) };
        server.serve(stdio()).await?.waiting().await?;
        anyhow::Ok(())
    })??;
    Ok(CommandOutput::from_text(String::new()))
}

/// Connects to the stack for each question, so that a stack that was started again is found.
#[derive(Clone)]
struct McpServer {
    stack: Arc<StackArguments>,
}

/// What `explain` is about.
#[derive(Deserialize, schemars::JsonSchema)]
struct ExplainParameters {
    /// A subject (`order:1001`, `order:outlet..1001` in another id scope, `appointment:88`,
    /// `lead:abc`), the key of a message (`order:1001:ready`), or a delivery: its key in the inbox
    /// (`shop#b54557e4`) or the sender's own id of it.
    name: String,
}

/// Which message did not arrive.
#[derive(Deserialize, schemars::JsonSchema)]
struct AbsenceParameters {
    /// The key of the message: `order:1001:ready`, `appointment:88:24h`, `lead:abc:first-touch`.
    /// The message need not exist.
    key: String,
}

/// Which line.
#[derive(Deserialize, schemars::JsonSchema)]
struct LineParameters {
    /// The line's name in client.toml. Without it, all lines are shown.
    name: Option<String>,
}

#[tool_router]
impl McpServer {
    /// What happened, when and why: to the messages of an order, an appointment or a lead, or to a
    /// delivery of a sender. Each message has its steps with times in the client's zone.
    #[tool(annotations(title = "Explain messages or a delivery", read_only_hint = true, open_world_hint = false))]
    async fn explain(&self, Parameters(ExplainParameters { name }): Parameters<ExplainParameters>) -> CallToolResult {
        to_result(explain::explain_name(&self.stack, &name).await)
    }

    /// Why a message did not reach its customer: the links from the sender's post to the phone
    /// (posted, verified, stored, planned, sent, arrived), the first one that broke, and the line
    /// of client.toml to change if a setting is the cause.
    #[tool(annotations(title = "Explain an absent message", read_only_hint = true, open_world_hint = false))]
    async fn explain_absence(
        &self,
        Parameters(AbsenceParameters { key }): Parameters<AbsenceParameters>,
    ) -> CallToolResult {
        to_result(explain::explain_absence(&self.stack, &key).await)
    }

    /// How the stack is: lines, CRMs, targets, forms, feeds, parts, versions, what waits, and how
    /// much needs a person.
    #[tool(annotations(title = "Status of the stack", read_only_hint = true, open_world_hint = false))]
    async fn status(&self) -> CallToolResult {
        to_result(overview::answer(Question::Status, &self.stack).await)
    }

    /// What waits: each message with its reason and its next try, tasks of CRMs and targets, and
    /// lookups.
    #[tool(annotations(title = "What waits", read_only_hint = true, open_world_hint = false))]
    async fn waiting(&self) -> CallToolResult {
        to_result(overview::answer(Question::Waiting, &self.stack).await)
    }

    /// What only a person can settle, the oldest first, with the command that settles it.
    #[tool(annotations(title = "What needs a person", read_only_hint = true, open_world_hint = false))]
    async fn needs(&self) -> CallToolResult {
        to_result(overview::answer(Question::Needs, &self.stack).await)
    }

    /// Whether a WhatsApp line can send, why not, until when, and what waits for it.
    #[tool(annotations(title = "A line", read_only_hint = true, open_world_hint = false))]
    async fn line(&self, Parameters(LineParameters { name }): Parameters<LineParameters>) -> CallToolResult {
        to_result(overview::answer_line(&self.stack, name.as_deref()).await)
    }
}

#[tool_handler]
impl ServerHandler for McpServer {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("tellonce", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }
}

/// An answer as text and as data. An error is a result too, so that the assistant reads what to do.
fn to_result(answer: anyhow::Result<Answer>) -> CallToolResult {
    match answer {
        Ok(Answer { text, report }) => {
            let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
            // Structured content is an object.
            result.structured_content = Some(if report.is_object() { report } else { json!({ "list": report }) });
            result
        }
        Err(error) => CallToolResult::error(vec![ContentBlock::text(format!("error: {error:#}"))]),
    }
}
