//! `cargo run`: builds the functions and starts the local stack with its console.

mod activity_lines;
mod first_message;
mod keyboard;
mod start_check;
mod terminal;
mod welcome;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::Parser;
use jiff::tz::TimeZone;
use tellonce_fakes::{
    provider,
    server::{FreePort, PublicHost, find_free_port},
};
use tellonce_stack::{LocalStack, RealSystem, StackOptions, build};
use tokio::{signal, sync::broadcast::error::RecvError};
use tracing_subscriber::EnvFilter;

use activity_lines::ActivityLines;
use keyboard::KeyboardCommands;
use start_check::render_problems;
use terminal::Keys;

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
    /// Port of the webhook endpoints and the console [default: 8787, or the next free one].
    #[arg(long)]
    port: Option<u16>,
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
    /// Write each delivery into files of its sender's folder in DIR, for `tellonce preview
    /// --folder`. They hold secrets and personal data.
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Port of the fake provider [default: 3010, or the next free one].
    #[arg(long, value_name = "PORT")]
    provider_port: Option<u16>,
    /// Folder for the state between runs [default: .local/CLIENT in the project's folder].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Do not build the functions first.
    #[arg(long)]
    no_build: bool,
}

/// The port of the webhook endpoints and the console, if it is free.
const DEFAULT_PORT: u16 = 8787;

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
        if !build::has_function_binaries()? {
            print_line("Building the functions. The first build takes minutes, later ones seconds.")?;
        }
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
    let client = from_root(&arguments.client);
    // Each client has a folder of its own, so that two of them run side by side.
    let name = client.file_name().context("--client must end in the name of a client's folder")?;
    let state = arguments.state.unwrap_or_else(|| root.join(".local").join(name));
    let (gateway_port, provider_port) =
        (choose_port(arguments.port, DEFAULT_PORT)?, choose_port(arguments.provider_port, provider::DEFAULT_PORT)?);
    let options = StackOptions {
        client,
        secrets: arguments.secrets,
        state: Some(state),
        fresh: arguments.fresh,
        gateway_port,
        public_hosts: arguments.public_hosts,
        parameters: arguments
            .address_segment
            .map(|segment| ("AddressSegment".to_owned(), segment))
            .into_iter()
            .collect(),
        real_systems: arguments.real_systems,
        record: arguments.record,
        provider_port,
        run_schedules: true,
        ..StackOptions::new(&root)
    };
    let stack = LocalStack::start_with_console(options, tellonce_console::build_router).await?;
    if let Some(problems) = render_problems(stack.client_folder(), &stack.loaded_client()) {
        print_line(&format!("\n{problems}"))?;
    }
    let keys = Keys::open();
    print_line(&welcome::render(&stack, keys.need_enter()))?;
    let result = follow_keyboard(&stack, keys).await;
    print_line("Stopping.")?;
    stack.shutdown().await;
    result
}

/// The port that was asked for. Without one, the default or the next free one, which is said.
fn choose_port(asked: Option<u16>, default: u16) -> anyhow::Result<u16> {
    if let Some(port) = asked {
        return Ok(port);
    }
    let FreePort { port, taken_by } = find_free_port(default)?;
    if let Some(owner) = taken_by {
        print_line(&format!("Port {default} is taken by {owner}, so this run uses {port}."))?;
    }
    Ok(port)
}

fn print_line(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("could not write to standard output")
}

/// Follows the keyboard until `q`, Ctrl-C or SIGTERM, and prints what happens in the meantime.
async fn follow_keyboard(stack: &Arc<LocalStack>, mut keys: Keys) -> anyhow::Result<()> {
    let commands = KeyboardCommands::default();
    let zone = stack.loaded_client().config.as_ref().map_or(TimeZone::UTC, |config| config.own_zone());
    let (lines, mut activity) = (ActivityLines { zone }, stack.activity().subscribe());
    // Without a terminal (a service) the input ends at once, which does not mean quit.
    let mut input_open = true;
    let mut terminate = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    loop {
        tokio::select! {
            key = keys.next(), if input_open => match key.as_deref() {
                Some("q") => return Ok(()),
                Some("") => {}
                Some(key) => {
                    let done = commands.run_key(stack, key).await;
                    print_line(&done.unwrap_or_else(|e| format!("Failed: {e:#}")))?;
                }
                None => input_open = false,
            },
            happened = activity.recv() => match happened {
                Ok(entry) => {
                    if let Some(line) = lines.render(&entry) {
                        print_line(&line)?;
                    }
                }
                Err(RecvError::Lagged(count)) => print_line(&format!("({count} lines are left out)"))?,
                Err(RecvError::Closed) => return Ok(()),
            },
            interrupted = signal::ctrl_c() => return interrupted.context("could not listen for Ctrl-C"),
            _ = terminate.recv() => return Ok(()),
        }
    }
}
