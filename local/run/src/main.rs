//! `cargo run`: builds the functions and starts the local stack with its console.

mod keyboard;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::Parser;
use tellonce_core::provider::PROVIDER_NAME;
use tellonce_fakes::{provider, server::PublicHost};
use tellonce_stack::{LocalStack, RealSystem, StackOptions, build};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines, Stdin},
    signal,
};
use tracing_subscriber::EnvFilter;

use keyboard::{KEYS_HELP, KeyboardCommands};

/// Runs the whole project on this machine: functions, tables, secrets, schedule, a fake provider
/// and a web console.
#[derive(Debug, Parser)]
#[command(name = "local", version)]
struct LocalArguments {
    /// Remove the state of earlier runs first.
    #[arg(long)]
    fresh: bool,
    /// Folder of the client to run.
    #[arg(long, value_name = "DIR", default_value = "clients/demo")]
    client: PathBuf,
    /// File with the secrets' values [default: secrets.json in the client's folder].
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// Port of the webhook endpoints and the console.
    #[arg(long, default_value_t = 8787)]
    port: u16,
    /// Host name of a tunnel to --port, for webhooks of real senders. Repeat it for several names.
    /// It reaches the webhook endpoints, and neither the console nor the fakes.
    #[arg(long = "public-host", value_name = "NAME", value_parser = PublicHost::parse)]
    public_hosts: Vec<PublicHost>,
    /// Random first segment of the webhook endpoints, as the template's parameter `AddressSegment`.
    #[arg(long, value_name = "SEGMENT")]
    address_segment: Option<String>,
    /// A system in client.toml to call itself, in place of its fake. Repeat it for several.
    /// `crms.own=http://127.0.0.1:5678` replaces the origin of its address. `crms.hubspot` calls
    /// the vendor's own API.
    #[arg(long = "real", value_name = "SYSTEM", value_parser = RealSystem::parse)]
    real_systems: Vec<RealSystem>,
    /// Port of the fake provider.
    #[arg(long, value_name = "PORT", default_value_t = provider::DEFAULT_PORT)]
    provider_port: u16,
    /// Folder for the state between runs [default: .local in the project's folder].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Do not build the functions first.
    #[arg(long)]
    no_build: bool,
}

fn main() -> ExitCode {
    match start_local(LocalArguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_local(arguments: LocalArguments) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(std::io::stderr).init();
    let root = find_workspace()?;
    if !arguments.no_build {
        build::build_workspace(&root)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(run_stack(arguments, root));
    // Only the thread that reads the terminal is left.
    runtime.shutdown_background();
    result
}

/// The nearest folder upwards with a `template.yaml`, so that the program runs from any folder of
/// the project.
fn find_workspace() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir().context("could not read the current folder")?;
    let root = here.ancestors().find(|folder| folder.join("template.yaml").is_file());
    let root = root.with_context(|| format!("could not find template.yaml in {} or above it", here.display()))?;
    Ok(root.to_owned())
}

async fn run_stack(arguments: LocalArguments, root: PathBuf) -> anyhow::Result<()> {
    let from_root = |path: &Path| if path.exists() { path.to_owned() } else { root.join(path) };
    let options = StackOptions {
        client: from_root(&arguments.client),
        secrets: arguments.secrets,
        state: Some(arguments.state.unwrap_or_else(|| root.join(".local"))),
        fresh: arguments.fresh,
        gateway_port: arguments.port,
        public_hosts: arguments.public_hosts,
        parameters: arguments
            .address_segment
            .map(|segment| ("AddressSegment".to_owned(), segment))
            .into_iter()
            .collect(),
        real_systems: arguments.real_systems,
        provider_port: arguments.provider_port,
        run_schedules: true,
        ..StackOptions::new(&root)
    };
    let stack = LocalStack::start_with_console(options, tellonce_console::build_router).await?;
    print_line(&render_welcome(&stack))?;
    let result = follow_keyboard(&stack).await;
    print_line("Stopping.")?;
    stack.shutdown().await;
    result
}

fn print_line(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("could not write to standard output")
}

fn render_welcome(stack: &LocalStack) -> String {
    let (url, webhooks) = (stack.gateway_url(), stack.webhook_url());
    let routes: Vec<String> = stack
        .routes()
        .iter()
        .map(|(route, function)| format!("  {:<5} {webhooks}{}  →  {function}", route.method, route.path))
        .collect();
    let real: Vec<String> = stack.real_systems().iter().map(|system| format!("\n  real       {system}")).collect();
    format!(
        "\nRunning client `{client}` on this machine\n\n\
         {routes}\n\
         \x20 console    {url}/\n\
         \x20 {PROVIDER_NAME} {provider} (fake)\n\
         \x20 logs       {logs}{real}\n\n\
         Try: curl -i {webhooks}/stores/shop --json '{{}}'   (unsigned, so the response is 401)\n\n\
         Keys, each followed by Enter: {KEYS_HELP}\n",
        client = stack.client_id(),
        routes = routes.join("\n"),
        provider = stack.provider().base_url(),
        real = real.concat(),
        logs = stack.logs_folder().display(),
    )
}

/// Follows the keyboard until `q`, Ctrl-C or SIGTERM.
async fn follow_keyboard(stack: &Arc<LocalStack>) -> anyhow::Result<()> {
    let (keys, mut typed) = (KeyboardCommands::default(), BufReader::new(tokio::io::stdin()).lines());
    // Without a terminal (a service) the input ends at once, which does not mean quit.
    let mut input_open = true;
    let mut terminate = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    loop {
        tokio::select! {
            line = read_key(&mut typed), if input_open => match line.as_deref() {
                Some("q") => return Ok(()),
                Some("") => {}
                Some(key) => {
                    let done = keys.run_key(stack, key).await;
                    print_line(&done.unwrap_or_else(|e| format!("Failed: {e:#}")))?;
                }
                None => input_open = false,
            },
            interrupted = signal::ctrl_c() => return interrupted.context("could not listen for Ctrl-C"),
            _ = terminate.recv() => return Ok(()),
        }
    }
}

async fn read_key(typed: &mut Lines<BufReader<Stdin>>) -> Option<String> {
    typed.next_line().await.ok().flatten().map(|line| line.trim().to_owned())
}
