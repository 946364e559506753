//! The tables, in Markdown.

use std::{collections::BTreeMap, path::Path};

use tellonce_bench::cost::{self, CostBreakdown, EventLoad};

use crate::{
    bench_run::BenchRun,
    end_to_end::EndToEndTimes,
    growth::SweepResult,
    instructions::InstructionCounts,
    job::{BenchJob, NOTIFIER, RECEIVER},
    line_events::{CrmCondition, LineEventTimes},
    rounds::{BenchMeasurements, JobFigures, MachineYardsticks},
    stats::{median, median_over_rounds, percentile, u64_to_f64, usize_to_f64},
    usage::RequestUsage,
};

/// Instructions by job and index of the stack.
pub(crate) type InstructionsByJob = BTreeMap<(BenchJob, usize), InstructionCounts>;

/// Sizes of a function's binary, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BinarySize {
    pub(crate) binary: usize,
    /// Size of the uploaded zip file. `None` for a build that is not a release build.
    pub(crate) zip: Option<usize>,
}

/// Limit for the ratio of the sender's waiting time while CRMs hang.
const MAX_HANGING_RATIO: f64 = 1.1;
/// A larger binary is not a release build.
const MAX_STRIPPED_BYTES: usize = 24 * 1024 * 1024;
/// The bytes that a zip file adds to one deflated file named `bootstrap`: a local header, a
/// directory entry and the end record (APPNOTE.TXT 4.3).
const ZIP_OVERHEAD: usize = 30 + 46 + 22 + 2 * "bootstrap".len();

impl BinarySize {
    /// Sizes of the file at `path`. The zip size is that of `zip -9`: deflated at level 9.
    pub(crate) fn measure_file(path: &Path) -> anyhow::Result<Self> {
        let content = std::fs::read(path)?;
        let zip = (content.len() < MAX_STRIPPED_BYTES)
            .then(|| miniz_oxide::deflate::compress_to_vec(&content, 9).len() + ZIP_OVERHEAD);
        Ok(Self { binary: content.len(), zip })
    }
}

/// The machine and its load before the measurement.
pub(crate) fn describe_machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load: f64 = read("/proc/loadavg").split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
    let busy =
        if load > usize_to_f64(cores) / 2.0 { " (**busy with other programs: the times mean little**)" } else { "" };
    format!("{cores} × {}, load {load} at the start{busy}", model.unwrap_or(std::env::consts::ARCH))
}

/// A number with two decimals below 10, one below 100, and none above.
fn format_number(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A value per event. Whole numbers have no decimals.
fn format_per_event(usage: &RequestUsage, total: f64) -> String {
    let value = usage.per_event(total);
    if (value - value.round()).abs() < 0.005 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn format_megabytes(bytes: usize) -> String {
    format!("{:.2}", usize_to_f64(bytes) / 1e6)
}

/// Times, CPU and memory of all stacks.
pub(crate) fn render_times(bench_runs: &[BenchRun], measured: &BenchMeasurements) -> String {
    let mut text = String::from(
        "| | cold ms | init ms | first event ms | warm p50 ms | p95 | p99 | p50 by round | events/s | CPU ms/event | RSS MB |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for ((index, job), figures) in sort_by_job(measured) {
        let name = row_name(bench_runs, index, job);
        let rounds: Vec<f64> = figures.warm_ms.iter().map(|round| percentile(round, 0.5)).collect();
        let cells = [
            format_number(median(&figures.cold_ms)),
            format_number(median(&figures.init_ms)),
            format_number(figures.first_event_ms()),
            format_number(figures.warm_percentile(0.5)),
            format_number(figures.warm_percentile(0.95)),
            format_number(figures.warm_percentile(0.99)),
            format!("{}…{}", format_number(percentile(&rounds, 0.0)), format_number(percentile(&rounds, 1.0))),
            format!("{:.0}", figures.events_per_second()),
            format_number(median(&figures.cpu_ms)),
            format!("{:.1}", median(&figures.memory_mb)),
        ];
        push_row(&mut text, &name, &cells);
    }
    text
}

/// How much slower the first stack is than each other one.
pub(crate) fn render_ratios(bench_runs: &[BenchRun], measured: &BenchMeasurements) -> String {
    let mut text = String::from("| | cold | init | warm p50 | CPU | RSS |\n|---|---:|---:|---:|---:|---:|\n");
    for ((index, job), other) in sort_by_job(measured) {
        let Some(own) = measured.figures.get(&(0, job)).filter(|_| index > 0) else { continue };
        let ratio = |of: &dyn Fn(&JobFigures) -> f64| format!("{:.2}", of(own) / of(other));
        let cells = [
            ratio(&|figures| median(&figures.cold_ms)),
            ratio(&|figures| median(&figures.init_ms)),
            ratio(&|figures| figures.warm_percentile(0.5)),
            ratio(&|figures| median(&figures.cpu_ms)),
            ratio(&|figures| median(&figures.memory_mb)),
        ];
        push_row(&mut text, &format!("{}: {} ÷ {}", job.title(), bench_runs[0].label, bench_runs[index].label), &cells);
    }
    text
}

/// The yardsticks of the machine, and how many rounds were quiet.
pub(crate) fn render_yardsticks(measured: &BenchMeasurements, rounds: usize) -> String {
    let MachineYardsticks { process_ms: process, put_ms: put } = &measured.yardsticks;
    format!(
        "Yardsticks of the same rounds: a process that does nothing takes {} ms from start to end (median of {}). One \
         write of an inbox item to the embedded DynamoDB takes {} ms (p50 of {}). {} of {rounds} rounds began on a \
         quiet machine.\n",
        format_number(median(process)),
        process.len(),
        format_number(percentile(put, 0.5)),
        put.len(),
        measured.quiet_rounds,
    )
}

/// Sizes of binary and zip file by function.
pub(crate) fn render_sizes(sizes: &BTreeMap<&str, BinarySize>) -> String {
    let mut text = String::from("| | binary MB | zip MB |\n|---|---:|---:|\n");
    for (function, size) in sizes {
        let zip = size.zip.map_or_else(|| "not a release build".to_owned(), format_megabytes);
        push_row(&mut text, function, &[format_megabytes(size.binary), zip]);
    }
    text
}

/// Requests per event, for first events (including initialisation) and warm ones.
pub(crate) fn render_requests(bench_runs: &[BenchRun], measured: &BenchMeasurements) -> String {
    let mut text = String::from(
        "| | event | DynamoDB | of these refused | write units | read units | Secrets Manager | health requests | sends \
         | CRMs and team |\n\
         |---|---|---|---:|---:|---:|---:|---:|---:|---|\n",
    );
    for ((index, job), figures) in sort_by_job(measured) {
        for (which, usage) in [("first", &figures.first_usage), ("warm", &figures.warm_usage)] {
            let cells = [
                which.to_owned(),
                list_requests(usage, usage.dynamo.iter().map(|(name, times)| (name.clone(), *times))),
                format_per_event(usage, u64_to_f64(usage.refused)),
                format_per_event(usage, usage.write_units),
                format_per_event(usage, usage.read_units),
                format_per_event(usage, u64_to_f64(usage.secret_requests)),
                format_per_event(usage, u64_to_f64(usage.health_requests)),
                format_per_event(usage, u64_to_f64(usage.sends)),
                list_requests(usage, usage.fake_requests.iter().map(|(peer, times)| (format!("{peer:?}"), *times))),
            ];
            push_row(&mut text, &row_name(bench_runs, index, job), &cells);
        }
    }
    text
}

/// Requests of different kinds, per event.
fn list_requests(usage: &RequestUsage, requests: impl Iterator<Item = (String, u64)>) -> String {
    let all: Vec<String> =
        requests.map(|(name, times)| format!("{} {name}", format_per_event(usage, u64_to_f64(times)))).collect();
    if all.is_empty() { "—".to_owned() } else { all.join(", ") }
}

/// Millions of instructions.
pub(crate) fn render_instructions(bench_runs: &[BenchRun], counted: &InstructionsByJob) -> String {
    let mut text = String::from("| | init M | first event M | warm event M |\n|---|---:|---:|---:|\n");
    for ((job, index), count) in counted {
        push_row(
            &mut text,
            &row_name(bench_runs, *index, *job),
            &[format_number(count.init), format_number(count.first), format_number(count.warm)],
        );
    }
    text
}

/// From an accepted delivery to a message.
pub(crate) fn render_end_to_end(result: &EndToEndTimes) -> String {
    let mut text = String::from("| ms | p50 | p95 | p99 |\n|---|---:|---:|---:|\n");
    let function = result.traffic.sending_function();
    for (name, values) in [
        ("delivery → 2xx at the sender", &result.acknowledged_ms),
        (&*format!("2xx → {function} has claimed it"), &result.waited_ms),
        ("2xx → message at the provider", &result.sent_ms),
    ] {
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| format_number(percentile(values, share)));
        push_row(&mut text, name, &[p50, p95, p99]);
    }
    let (n, rate, share) = (result.sent_ms.len(), result.rate, result.waiting_share() * 100.0);
    let sentence = format!(
        "\n{n} deliveries, {rate} a second. {share:.0} % of the time between 2xx and message passed before {function} claimed \
         the message: the stream, its start and the deliveries before it. Here each write wakes the reader of the stream. \
         Lambda polls a stream about four times a second.\n"
    );
    text.push_str(&sentence);
    text
}

/// How long the sender of line events waits, and when a message is in the CRMs.
pub(crate) fn render_line_events(result: &LineEventTimes) -> String {
    let mut text = String::from("| ms | p50 | p99 | p99 by round | events |\n|---|---:|---:|---:|---:|\n");
    for meanwhile in CrmCondition::ALL {
        let rounds = result.acknowledged.get(&meanwhile).map_or(&[][..], Vec::as_slice);
        let name = match meanwhile {
            CrmCondition::SyncStopped => "event → 2xx, while conversation-sync is paused",
            CrmCondition::Responding => "event → 2xx, while the CRMs respond",
            CrmCondition::Hanging => "event → 2xx, while the CRMs hang",
        };
        let p99: Vec<f64> = rounds.iter().map(|round| percentile(round, 0.99)).collect();
        let spread = format!("{}…{}", format_number(percentile(&p99, 0.0)), format_number(percentile(&p99, 1.0)));
        let events = rounds.iter().map(Vec::len).sum::<usize>().to_string();
        push_row(
            &mut text,
            name,
            &[
                format_number(median_over_rounds(rounds, 0.5)),
                format_number(median_over_rounds(rounds, 0.99)),
                spread,
                events,
            ],
        );
    }
    for (crm, values) in &result.entered_ms {
        let [p50, p99] = [0.5, 0.99].map(|share| format_number(percentile(values, share)));
        push_row(&mut text, &format!("2xx → entry in `{crm}`"), &[p50, p99, "—".to_owned(), values.len().to_string()]);
    }
    let (ratio, to_still) =
        (result.hanging_ratio(CrmCondition::Responding), result.hanging_ratio(CrmCondition::SyncStopped));
    let verdict = if ratio <= MAX_HANGING_RATIO { "holds" } else { "**over**" };
    let sentence = format!(
        "\n**p99 while they hang ÷ while they respond: {ratio:.2}** (target ≤ {MAX_HANGING_RATIO}: {verdict}). p99 while they \
         hang ÷ while conversation-sync is paused: {to_still:.2}. At most {} events a second, one after the other, through \
         the gateway. {} rounds began on a quiet machine. While the CRMs respond, each event is sent when the one before is \
         in all of them. Each event wakes conversation-sync on the receiver's processors. That makes this part slower here, \
         but not in the cloud. The time from 2xx to entry includes the stream: here each write wakes its reader, and Lambda \
         polls a stream about four times a second. In the end every message was in every CRM.\n",
        result.rate, result.quiet_rounds,
    );
    text.push_str(&sentence);
    text
}

/// Time per reminder, by the number of due reminders.
pub(crate) fn render_growth(sweeps: &[SweepResult]) -> String {
    let mut text = String::from(
        "| due | ms in all | ms each | DynamoDB each | write units each | read units each | sends each |\n\
         |---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for SweepResult { due, took_ms, usage } in sweeps {
        let each = |total: f64| format_number(total / usize_to_f64(*due));
        let cells = [
            format_number(*took_ms),
            each(*took_ms),
            each(u64_to_f64(usage.dynamo_requests())),
            each(usage.write_units),
            each(usage.read_units),
            each(u64_to_f64(usage.sends)),
        ];
        push_row(&mut text, &due.to_string(), &cells);
    }
    text
}

/// The values of a job's event for the bill.
fn build_load(bench_run: &BenchRun, job: BenchJob, figures: &JobFigures) -> EventLoad {
    let usage = &figures.warm_usage;
    let function = bench_run.stack.template().functions.iter().find(|function| function.name == job.function_name());
    let template = std::fs::read_to_string(bench_run.stack.root().join("template.yaml")).unwrap_or_default();
    EventLoad {
        memory_mb: function.map_or(128.0, |function| f64::from(function.memory_mb)),
        invocations: 1.0,
        cpu_ms: median(&figures.cpu_ms),
        dynamo: usage.per_event(u64_to_f64(usage.dynamo_requests())),
        write_units: usage.per_event(usage.write_units),
        read_units: usage.per_event(usage.read_units),
        secrets: usage.per_event(u64_to_f64(usage.secret_requests)),
        provider: usage.per_event(u64_to_f64(usage.health_requests + usage.sends)),
        log_bytes: figures.log_bytes_per_event() + cost::platform_log_bytes(&template),
        init_ms: median(&figures.init_ms),
        secrets_at_start: figures.first_usage.per_event(u64_to_f64(figures.first_usage.secret_requests)),
        gateway: if job.function_name() == RECEIVER { 1.0 } else { 0.0 },
    }
}

/// US$ per million messages and per month. `None` unless both halves of a message were measured.
pub(crate) fn render_bill(bench_run: &BenchRun, measured: &BenchMeasurements) -> Option<String> {
    let loaded = |job: BenchJob| measured.figures.get(&(0, job)).map(|figures| build_load(bench_run, job, figures));
    let (delivery, message) = (loaded(BenchJob::NewDelivery)?, loaded(BenchJob::Message)?);
    let (received, sent) = (delivery.compute_cost(), message.compute_cost());
    let mut text = String::from(
        "| US$ per million | HTTP API | Lambda requests | Lambda GB-s | writes | reads | Secrets Manager | logs | sum |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for (name, bill) in [
        (format!("deliveries accepted ({:.0} ms billed)", delivery.duration_ms()), received),
        (format!("messages sent ({:.0} ms billed)", message.duration_ms()), sent),
        ("**messages, with the delivery of each**".to_owned(), received.add_costs(&sent)),
    ] {
        let CostBreakdown { gateway, requests, compute, writes, reads, secrets, logs } = bill;
        let parts = [gateway, requests, compute, writes, reads, secrets, logs, bill.total_cost()];
        push_row(&mut text, &name, &parts.map(|part| format!("{part:.2}")));
    }
    let secrets = bench_run.stack.secrets().list_names().len();
    let rent = usize_to_f64(secrets) * cost::SECRET_MONTH;
    let mut monthly = vec![format!("US$ {rent:.2} for {secrets} secrets")];
    if let Some(tick) = loaded(BenchJob::IdleTick) {
        let ticks = tick.compute_cost().total_cost() * cost::MONTHLY_TICKS / 1e6;
        monthly.push(format!("US$ {ticks:.2} for {:.0} ticks of the schedule", cost::MONTHLY_TICKS));
    }
    let monthly = monthly.join(" and ");
    Some(format!("{text}\nFixed costs of a month: {monthly}.\n\n{}", render_assumptions(bench_run)))
}

fn render_assumptions(bench_run: &BenchRun) -> String {
    let memory = bench_run.stack.template().functions.iter().map(|function| function.memory_mb.to_string());
    let mut memory: Vec<String> = memory.collect();
    memory.dedup();
    format!(
        "Assumed: list prices of us-east-1 in US$ (Lambda arm64 {} per GB-s and {} per million requests; DynamoDB on demand {} \
         per million write units, {} per million read units; HTTP API {} per million; Secrets Manager {} per million calls, \
         {} per secret and month; logs {} per GB); {} MB, of which {} make a processor, for every event (Lambda allows \
         short bursts, so its bill is lower); {:.0} % cold; in the cloud {} ms for a request to DynamoDB, {} ms to Secrets \
         Manager, {} ms to the provider, one after the other; {} bytes of Lambda's own log lines per event, where the template has `SystemLogLevel: INFO`.\n",
        cost::LAMBDA_GB_SECOND,
        cost::LAMBDA_REQUESTS,
        cost::WRITE_UNITS,
        cost::READ_UNITS,
        cost::HTTP_API_REQUESTS,
        cost::SECRETS_CALLS,
        cost::SECRET_MONTH,
        cost::LOGS_GB,
        memory.join("/"),
        cost::MB_PER_CPU,
        100.0 * cost::COLD_SHARE,
        cost::DYNAMO_MS,
        cost::SECRETS_MS,
        cost::PROVIDER_MS,
        cost::PLATFORM_LOG_BYTES,
    )
}

/// The figures with a target that holds on every machine.
pub(crate) fn render_targets(
    measured: &BenchMeasurements,
    sizes: &BTreeMap<&str, BinarySize>,
    counted: &InstructionsByJob,
) -> String {
    let mut text = String::from("| | target | measured | |\n|---|---:|---:|---|\n");
    let mut row = |name: String, most: f64, found: f64| {
        let verdict = if found <= most { "holds" } else { "**over**" };
        push_row(&mut text, &name, &[format!("≤ {most}"), format_number(found), verdict.to_owned()]);
    };
    for (function, size) in sizes {
        if let Some(zip) = size.zip {
            row(format!("{function}: zip MB"), 4.0, usize_to_f64(zip) / 1e6);
        }
    }
    if let Some(count) = counted.get(&(BenchJob::NewDelivery, 0)) {
        row("receiver: init, M instructions".to_owned(), 3.0, count.init);
        row("receiver: first event, M instructions".to_owned(), 6.0, count.first);
        row("receiver: warm event, M instructions".to_owned(), 2.0, count.warm);
    }
    for job in BenchJob::ALL {
        if let Some(figures) = measured.figures.get(&(0, job)) {
            row(format!("{}: RSS MB", job.title()), 12.0, median(&figures.memory_mb));
        }
    }
    if let Some(JobFigures { warm_usage: usage, .. }) = measured.figures.get(&(0, BenchJob::NewDelivery)) {
        row("delivery: DynamoDB requests".to_owned(), 1.0, usage.per_event(u64_to_f64(usage.dynamo_requests())));
        row("delivery: write units".to_owned(), 2.0, usage.per_event(usage.write_units));
    }
    if let Some(JobFigures { warm_usage: usage, .. }) = measured.figures.get(&(0, BenchJob::Message)) {
        let reads = ["GetItem", "Query", "Scan"].iter().filter_map(|name| usage.dynamo.get(*name)).sum::<u64>();
        row(
            format!("message ({NOTIFIER}): DynamoDB writes"),
            2.0,
            usage.per_event(u64_to_f64(usage.dynamo_requests() - reads)),
        );
        row("message: write units".to_owned(), 5.0, usage.per_event(usage.write_units));
        row("message: reads".to_owned(), 1.0, usage.per_event(u64_to_f64(reads)));
    }
    text
}

/// A job's name, with that of its stack if there are several.
fn row_name(bench_runs: &[BenchRun], index: usize, job: BenchJob) -> String {
    match bench_runs {
        [_] => job.title().to_owned(),
        _ => format!("{}, {}", job.title(), bench_runs[index].label),
    }
}

fn sort_by_job(measured: &BenchMeasurements) -> Vec<((usize, BenchJob), &JobFigures)> {
    let mut all: Vec<_> = measured.figures.iter().map(|(key, figures)| (*key, figures)).collect();
    all.sort_by_key(|((index, job), _)| (*job, *index));
    all
}

fn push_row(text: &mut String, name: &str, cells: &[String]) {
    for part in ["| ", name, " | ", &cells.join(" | "), " |\n"] {
        text.push_str(part);
    }
}
