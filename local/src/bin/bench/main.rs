//! `just bench`: what this project's functions take, measured here and now.
//!
//! Runs the very binaries that are deployed, in the local stack, and prints tables in markdown: cold starts, warm events,
//! CPU, memory, sizes, instructions, requests by peer, the way from a delivery to a message, what a line's events wait for,
//! and what all that costs at list prices. `docs/performance.md` says how to read them.
//!
//! Promises that every measured event did its work (a benchmark of failures would be fast) and that everything with a
//! clock was measured in interleaved rounds. Does not promise that milliseconds mean anything on another machine or day:
//! compare ratios of one run, for which `--beside` takes the binaries of another commit. Functions talk plain HTTP to
//! stand-ins on this machine, so TLS is not in these figures.

mod building;
mod cost;
mod deliveries;
mod end_to_end;
mod growth;
mod instructions;
mod job;
mod line_events;
mod process;
mod report;
mod rounds;
mod settings;
mod stats;
mod usage;
mod world;

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum};

use building::Profile;
use end_to_end::Cargo;
use job::{FUNCTIONS, Job};
use report::{Counted, Size};
use rounds::{Effort, Measured};
use world::{Events, Streams, World};

/// Measures the functions and prints markdown tables.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// Rounds; every job has its turn in each.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Cold starts of each job in a round.
    #[arg(long, default_value_t = 8)]
    cold: usize,
    /// Warm events of each job in a round (a tenth of that where 20 messages are due).
    #[arg(long, default_value_t = 200)]
    warm: usize,
    /// Only these, separated by commas.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Part>,
    /// A first impression: fewer rounds and events.
    #[arg(long)]
    quick: bool,
    /// Which build of the functions.
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,
    /// Don't build the functions first.
    #[arg(long)]
    no_build: bool,
    /// Folder with the function binaries of another commit, to be measured beside ours in the same rounds.
    #[arg(long, value_name = "DIR")]
    beside: Option<PathBuf>,
    /// Deliveries a second, end to end.
    #[arg(long, default_value_t = 25)]
    rate: u32,
    /// For how many seconds, end to end.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Leads a second, for a minute.
    #[arg(long, default_value_t = 20)]
    leads: u32,
    /// Line events a second at most, while CRMs answer and while they hang.
    #[arg(long, default_value_t = 20)]
    line_events: u32,
}

/// What can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    NewDelivery,
    Duplicate,
    Message,
    IdleTick,
    DueTick,
    Booking,
    ReminderTick,
    Lead,
    LineMessage,
    Instructions,
    EndToEnd,
    Leads,
    Lines,
    Growth,
}

impl Part {
    fn job(self) -> Option<Job> {
        match self {
            Self::NewDelivery => Some(Job::NewDelivery),
            Self::Duplicate => Some(Job::Duplicate),
            Self::Message => Some(Job::Message),
            Self::IdleTick => Some(Job::IdleTick),
            Self::DueTick => Some(Job::DueTick),
            Self::Booking => Some(Job::Booking),
            Self::ReminderTick => Some(Job::ReminderTick),
            Self::Lead => Some(Job::Lead),
            Self::LineMessage => Some(Job::LineMessage),
            Self::Instructions | Self::EndToEnd | Self::Leads | Self::Lines | Self::Growth => None,
        }
    }
}

fn main() -> ExitCode {
    match start(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(mut arguments: Arguments) -> anyhow::Result<()> {
    if arguments.quick {
        arguments.rounds = arguments.rounds.min(2);
        arguments.cold = arguments.cold.min(3);
        arguments.warm = arguments.warm.min(40);
        arguments.seconds = arguments.seconds.min(4);
    }
    ensure!(arguments.rounds > 0 && arguments.cold > 0, "at least one round and one cold start are needed");
    let here = std::env::current_dir().context("can't find out where this is run")?;
    let root = here.ancestors().find(|folder| folder.join("template.yaml").is_file());
    let root = root.with_context(|| format!("there is no template.yaml in {} or above it", here.display()))?;
    if !arguments.no_build {
        eprintln!("building the functions (a release build takes some minutes when it is the first)");
        building::functions(root, arguments.profile)?;
    }
    let machine = report::machine();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(&arguments, root, &machine))
}

async fn run(arguments: &Arguments, root: &Path, machine: &str) -> anyhow::Result<()> {
    let binaries = arguments.profile.folder()?;
    let wanted = |part: Part| arguments.only.is_empty() || arguments.only.contains(&part);
    let jobs: Vec<Job> =
        Part::value_variants().iter().filter(|part| wanted(**part)).filter_map(|part| part.job()).collect();
    let effort = Effort { rounds: arguments.rounds, cold: arguments.cold, warm: arguments.warm };

    let mut worlds = vec![start_world("ours", root, &binaries, &jobs).await?];
    if let Some(folder) = &arguments.beside {
        let folder = folder.canonicalize().with_context(|| format!("there is no {}", folder.display()))?;
        worlds.push(start_world("beside", root, &folder, &jobs).await?);
    }
    say(&introduction(arguments, effort, machine, &worlds[0])?)?;

    let mut measured = Measured::default();
    if !jobs.is_empty() {
        measured = rounds::measure(&worlds, &jobs, effort).await?;
        let note = "Cold: start of the process to its first answer. Init is taken in processes of their own, the first event \
                    is the rest. Warm: one event after the other in one process.";
        section(
            "Times",
            &format!(
                "{}\n{note}\n\n{}",
                report::times(&worlds, &measured),
                report::yardsticks(&measured, effort.rounds)
            ),
        )?;
        if worlds.len() > 1 {
            section("Ratios", &report::ratios(&worlds, &measured))?;
        }
        section("Requests per event", &report::requests(&worlds, &measured))?;
    }
    let mut sizes = BTreeMap::new();
    if arguments.only.is_empty() {
        for function in FUNCTIONS {
            sizes.insert(function, Size::of(&binaries.join(function))?);
        }
        section("Sizes", &report::sizes(&sizes))?;
    }
    let mut counted = Counted::new();
    if wanted(Part::Instructions) {
        let jobs = if jobs.is_empty() { &Job::ALL } else { jobs.as_slice() };
        let text = count_instructions(&worlds, jobs, root, &mut counted).await;
        section("Instructions", &text)?;
    }
    if wanted(Part::EndToEnd) {
        eprintln!("end to end: {} deliveries a second for {} s", arguments.rate, arguments.seconds);
        let result = end_to_end::measure(root, &binaries, Cargo::Orders, arguments.rate, arguments.seconds).await?;
        section("End to end", &report::end_to_end(&result))?;
    }
    if wanted(Part::Leads) {
        let (cargo, seconds) = (Cargo::Leads { answer_ms: 50 }, if arguments.quick { 5 } else { 60 });
        eprintln!("leads: {} a second for {seconds} s, EZWhatsApp answering in 50 ms", arguments.leads);
        let result = end_to_end::measure(root, &binaries, cargo, arguments.leads, seconds).await?;
        section("From lead to first touch, EZWhatsApp answering in 50 ms", &report::end_to_end(&result))?;
    }
    if wanted(Part::Lines) {
        eprintln!("line events: {} a second, while CRMs answer and while they hang", arguments.line_events);
        let result = line_events::measure(root, &binaries, effort, arguments.line_events).await?;
        section("Line events, while CRMs answer and while they hang", &report::line_events(&result))?;
    }
    if wanted(Part::Growth) {
        let most = if arguments.quick { 100 } else { 1000 };
        eprintln!("growth: up to {most} reminders due in one sweep");
        section("Reminders in one sweep", &report::growth(&growth::measure(root, &binaries, most).await?))?;
    }
    if let Some(bill) = report::bill(&worlds[0], &measured) {
        section("Cost at list prices", &bill)?;
    }
    if arguments.profile == Profile::Release && (!measured.figures.is_empty() || !counted.is_empty()) {
        section("Targets", &report::targets(&measured, &sizes, &counted))?;
    }
    for world in &worlds {
        world.end().await;
    }
    Ok(())
}

/// The world of one side, with one apart if a job needs a line that reports events.
async fn start_world(label: &str, root: &Path, binaries: &Path, jobs: &[Job]) -> anyhow::Result<World> {
    let world = World::start(label, root, binaries, Streams::Off, Events::Off).await?;
    if jobs.iter().all(|job| job.events() == Events::Off) {
        return Ok(world);
    }
    Ok(world.with_apart(World::start(label, root, binaries, Streams::Off, Events::On).await?))
}

/// Counts the instructions of `jobs` in the binaries of all worlds, where there is a valgrind to count them.
async fn count_instructions(worlds: &[World], jobs: &[Job], root: &Path, counted: &mut Counted) -> String {
    let Some(valgrind) = instructions::valgrind().await else {
        return "Not counted: there is no valgrind on the PATH.".to_owned();
    };
    let mut failed = String::new();
    for job in jobs {
        eprintln!("counting instructions: {}", job.title());
        for (index, world) in worlds.iter().enumerate() {
            match instructions::of(root, &world.binaries, &valgrind, *job).await {
                Ok(count) => drop(counted.insert((*job, index), count)),
                // an old valgrind may not know this machine's instructions; everything else is still worth saying
                Err(e) => failed = format!("{failed}\nNot counted for {}: {e:#}.\n", job.title()),
            }
        }
    }
    format!("{}{failed}", report::instructions(worlds, counted))
}

fn introduction(arguments: &Arguments, effort: Effort, machine: &str, world: &World) -> anyhow::Result<String> {
    let bytes = world.delivery()?.body.len();
    let Effort { rounds, cold, warm } = effort;
    let mut text = format!(
        "# Benchmark\n\n{machine}. {rounds} interleaved rounds of {cold} cold starts and {warm} warm events per job; medians over \
         the rounds. A delivery has {bytes} bytes. Plain HTTP to stand-ins on this machine, which take CPU of their own. \
         Milliseconds differ between machines and days: compare ratios within one run, and instructions and requests anywhere."
    );
    if arguments.profile == Profile::Dev || cfg!(debug_assertions) {
        text.push_str("\n\n**Not a release build of everything: the times below mean nothing.**");
    }
    Ok(text)
}

fn section(title: &str, text: &str) -> anyhow::Result<()> {
    say(&format!("\n## {title}\n\n{text}"))
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()).context("can't write to standard output")
}
