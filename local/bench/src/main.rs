//! `just bench`: measures the project's functions on this machine.
//!
//! Runs the deployed binaries in the local stack and prints tables in Markdown: cold starts, warm
//! events, CPU, memory, sizes, instructions, requests by service, the time from a delivery to a
//! message, the waiting time of line events, and the cost at list prices. `docs/performance.md`
//! says how to read them.
//!
//! Every measured event did its work, because a benchmark of failures would be fast. All times are
//! measured in interleaved rounds. Milliseconds are not comparable between machines or days:
//! compare ratios of one run, for which `--baseline` takes the binaries of another commit.
//! Functions use plain HTTP to fakes on this machine, so TLS is not in these figures.

mod bench_run;
mod deliveries;
mod end_to_end;
mod function_build;
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

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum};
use tellonce_core::provider::PROVIDER_NAME;

use bench_run::{BenchRun, StreamMode};
use end_to_end::TrafficKind;
use function_build::BuildProfile;
use job::{BenchJob, FUNCTIONS};
use report::{BinarySize, InstructionsByJob};
use rounds::{BenchEffort, BenchMeasurements};
use settings::LineEventMode;

/// Measures the functions and prints Markdown tables.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct BenchArguments {
    /// Rounds. Every job has its turn in each.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Cold starts of each job in a round.
    #[arg(long, default_value_t = 8)]
    cold: usize,
    /// Warm events of each job in a round (a tenth of that where 20 messages are due).
    #[arg(long, default_value_t = 200)]
    warm: usize,
    /// Only these parts, separated by commas.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<BenchPart>,
    /// A quick run with fewer rounds and events.
    #[arg(long)]
    quick: bool,
    /// The cargo profile of the functions.
    #[arg(long, value_enum, default_value_t = BuildProfile::Release)]
    profile: BuildProfile,
    /// Do not build the functions first.
    #[arg(long)]
    no_build: bool,
    /// Folder with the function binaries of another commit, to measure in the same rounds.
    #[arg(long, value_name = "DIR")]
    baseline: Option<PathBuf>,
    /// Deliveries per second, end to end.
    #[arg(long, default_value_t = 25)]
    rate: u32,
    /// Duration of the end-to-end part, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Leads per second, for a minute.
    #[arg(long, default_value_t = 20)]
    leads: u32,
    /// Most line events per second, while CRMs respond and while they hang.
    #[arg(long, default_value_t = 20)]
    line_events: u32,
}

impl BenchArguments {
    fn includes(&self, part: BenchPart) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

/// A part of the benchmark that can run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BenchPart {
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

impl BenchPart {
    fn to_job(self) -> Option<BenchJob> {
        match self {
            Self::NewDelivery => Some(BenchJob::NewDelivery),
            Self::Duplicate => Some(BenchJob::Duplicate),
            Self::Message => Some(BenchJob::Message),
            Self::IdleTick => Some(BenchJob::IdleTick),
            Self::DueTick => Some(BenchJob::DueTick),
            Self::Booking => Some(BenchJob::Booking),
            Self::ReminderTick => Some(BenchJob::ReminderTick),
            Self::Lead => Some(BenchJob::Lead),
            Self::LineMessage => Some(BenchJob::LineMessage),
            Self::Instructions | Self::EndToEnd | Self::Leads | Self::Lines | Self::Growth => None,
        }
    }
}

fn main() -> ExitCode {
    match start_bench(BenchArguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_bench(mut arguments: BenchArguments) -> anyhow::Result<()> {
    if arguments.quick {
        arguments.rounds = arguments.rounds.min(2);
        arguments.cold = arguments.cold.min(3);
        arguments.warm = arguments.warm.min(40);
        arguments.seconds = arguments.seconds.min(4);
    }
    ensure!(arguments.rounds > 0 && arguments.cold > 0, "at least one round and one cold start are needed");
    let here = std::env::current_dir().context("could not read the current folder")?;
    let root = here.ancestors().find(|folder| folder.join("template.yaml").is_file());
    let root = root.with_context(|| format!("could not find template.yaml in {} or above it", here.display()))?;
    if !arguments.no_build {
        eprintln!("building the functions (the first release build takes some minutes)");
        function_build::build_functions(root, arguments.profile)?;
    }
    let machine = report::describe_machine();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run_bench(&arguments, root, &machine))
}

async fn run_bench(arguments: &BenchArguments, root: &Path, machine: &str) -> anyhow::Result<()> {
    let binaries = arguments.profile.binaries_folder()?;
    let parts = BenchPart::value_variants().iter().filter(|part| arguments.includes(**part));
    let jobs: Vec<BenchJob> = parts.filter_map(|part| part.to_job()).collect();
    let effort = BenchEffort { rounds: arguments.rounds, cold: arguments.cold, warm: arguments.warm };

    let mut bench_runs = vec![start_bench_run("current", root, &binaries, &jobs).await?];
    if let Some(folder) = &arguments.baseline {
        let folder =
            folder.canonicalize().with_context(|| format!("could not find the folder {}", folder.display()))?;
        bench_runs.push(start_bench_run("baseline", root, &folder, &jobs).await?);
    }
    print_text(&render_introduction(arguments, effort, machine, &bench_runs[0])?)?;

    let mut measured = BenchMeasurements::default();
    if !jobs.is_empty() {
        measured = rounds::measure_jobs(&bench_runs, &jobs, effort).await?;
        print_measurements(&bench_runs, &measured, effort)?;
    }
    let mut sizes = BTreeMap::new();
    if arguments.only.is_empty() {
        for function in FUNCTIONS {
            sizes.insert(function, BinarySize::measure_file(&binaries.join(function))?);
        }
        print_section("Sizes", &report::render_sizes(&sizes))?;
    }
    let mut counted = InstructionsByJob::new();
    if arguments.includes(BenchPart::Instructions) {
        let jobs = if jobs.is_empty() { &BenchJob::ALL } else { jobs.as_slice() };
        let text = count_instructions(&bench_runs, jobs, root, &mut counted).await;
        print_section("Instructions", &text)?;
    }
    measure_traffic(arguments, root, &binaries, effort).await?;
    if let Some(bill) = report::render_bill(&bench_runs[0], &measured) {
        print_section("Cost at list prices", &bill)?;
    }
    if arguments.profile == BuildProfile::Release && (!measured.figures.is_empty() || !counted.is_empty()) {
        print_section("Targets", &report::render_targets(&measured, &sizes, &counted))?;
    }
    for bench_run in &bench_runs {
        bench_run.shut_down().await;
    }
    Ok(())
}

/// Prints the tables of the jobs.
fn print_measurements(
    bench_runs: &[BenchRun],
    measured: &BenchMeasurements,
    effort: BenchEffort,
) -> anyhow::Result<()> {
    let note = "Cold: start of the process to its first response. Init is taken in processes of their own, the first event \
                is the rest. Warm: one event after the other in one process.";
    print_section(
        "Times",
        &format!(
            "{}\n{note}\n\n{}",
            report::render_times(bench_runs, measured),
            report::render_yardsticks(measured, effort.rounds)
        ),
    )?;
    if bench_runs.len() > 1 {
        print_section("Ratios", &report::render_ratios(bench_runs, measured))?;
    }
    print_section("Requests per event", &report::render_requests(bench_runs, measured))
}

/// Measures and prints the parts that post through the whole stack.
async fn measure_traffic(
    arguments: &BenchArguments,
    root: &Path,
    binaries: &Path,
    effort: BenchEffort,
) -> anyhow::Result<()> {
    if arguments.includes(BenchPart::EndToEnd) {
        eprintln!("end to end: {} deliveries a second for {} s", arguments.rate, arguments.seconds);
        let result =
            end_to_end::measure_end_to_end(root, binaries, TrafficKind::Orders, arguments.rate, arguments.seconds)
                .await?;
        print_section("End to end", &report::render_end_to_end(&result))?;
    }
    if arguments.includes(BenchPart::Leads) {
        let (traffic, seconds) = (TrafficKind::Leads { latency_ms: 50 }, if arguments.quick { 5 } else { 60 });
        eprintln!("leads: {} a second for {seconds} s, {PROVIDER_NAME} responds in 50 ms", arguments.leads);
        let result = end_to_end::measure_end_to_end(root, binaries, traffic, arguments.leads, seconds).await?;
        print_section(
            &format!("From lead to first touch, {PROVIDER_NAME} responds in 50 ms"),
            &report::render_end_to_end(&result),
        )?;
    }
    if arguments.includes(BenchPart::Lines) {
        eprintln!("line events: {} a second, while CRMs respond and while they hang", arguments.line_events);
        let result = line_events::measure_line_events(root, binaries, effort, arguments.line_events).await?;
        print_section("Line events, while CRMs respond and while they hang", &report::render_line_events(&result))?;
    }
    if arguments.includes(BenchPart::Growth) {
        let most = if arguments.quick { 100 } else { 1000 };
        eprintln!("growth: up to {most} reminders due in one sweep");
        print_section(
            "Reminders in one sweep",
            &report::render_growth(&growth::measure_sweeps(root, binaries, most).await?),
        )?;
    }
    Ok(())
}

/// The stack for one set of binaries, with a second one if a job needs a line with events.
async fn start_bench_run(label: &str, root: &Path, binaries: &Path, jobs: &[BenchJob]) -> anyhow::Result<BenchRun> {
    let bench_run = BenchRun::start(label, root, binaries, StreamMode::Off, LineEventMode::Off).await?;
    if jobs.iter().all(|job| job.line_event_mode() == LineEventMode::Off) {
        return Ok(bench_run);
    }
    Ok(bench_run.with_second_run(BenchRun::start(label, root, binaries, StreamMode::Off, LineEventMode::On).await?))
}

/// Counts the instructions of `jobs` in the binaries of all stacks, if valgrind is installed.
async fn count_instructions(
    bench_runs: &[BenchRun],
    jobs: &[BenchJob],
    root: &Path,
    counted: &mut InstructionsByJob,
) -> String {
    let Some(valgrind) = instructions::find_valgrind().await else {
        return "Not counted: valgrind is not on the PATH.".to_owned();
    };
    let mut failed = String::new();
    for job in jobs {
        eprintln!("counting instructions: {}", job.title());
        for (index, bench_run) in bench_runs.iter().enumerate() {
            match instructions::count_instructions_of(root, &bench_run.binaries, &valgrind, *job).await {
                Ok(count) => drop(counted.insert((*job, index), count)),
                // An old valgrind may not know this machine's instructions. The other figures are
                // still worth printing.
                Err(e) => failed = format!("{failed}\nNot counted for {}: {e:#}.\n", job.title()),
            }
        }
    }
    format!("{}{failed}", report::render_instructions(bench_runs, counted))
}

fn render_introduction(
    arguments: &BenchArguments,
    effort: BenchEffort,
    machine: &str,
    bench_run: &BenchRun,
) -> anyhow::Result<String> {
    let bytes = bench_run.build_delivery()?.post.body.len();
    let BenchEffort { rounds, cold, warm } = effort;
    let mut text = format!(
        "# Benchmark\n\n{machine}. {rounds} interleaved rounds of {cold} cold starts and {warm} warm events per job; medians over \
         the rounds. A delivery has {bytes} bytes. Plain HTTP to fakes on this machine, which also use CPU. \
         Milliseconds differ between machines and days: compare ratios within one run, and instructions and requests anywhere."
    );
    if arguments.profile == BuildProfile::Dev || cfg!(debug_assertions) {
        text.push_str("\n\n**Not a release build of everything: the times below mean nothing.**");
    }
    Ok(text)
}

fn print_section(title: &str, text: &str) -> anyhow::Result<()> {
    print_text(&format!("\n## {title}\n\n{text}"))
}

fn print_text(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()).context("could not write to standard output")
}
