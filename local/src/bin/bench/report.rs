//! The tables, in markdown.

use std::{collections::BTreeMap, path::Path};

use crate::{
    cost::{self, Bill, Load},
    end_to_end::EndToEnd,
    growth::Swept,
    instructions::Instructions,
    job::{Job, NOTIFIER, RECEIVER},
    line_events::{LineEvents, While},
    rounds::{Figures, Measured, Yardsticks},
    stats::{count, count64, median, over_rounds, percentile},
    usage::Usage,
    world::World,
};

/// Instructions by job and world.
pub(crate) type Counted = BTreeMap<(Job, usize), Instructions>;

/// Sizes of a function's binary, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) binary: usize,
    /// What is uploaded; not computed for binaries that weren't built to be small.
    pub(crate) zip: Option<usize>,
}

/// How much longer the sender of a line event may wait for its 2xx when CRMs hang.
const MOST_WHILE_HANGING: f64 = 1.1;
/// Binaries above this are no release builds.
const NOT_STRIPPED: usize = 24 * 1024 * 1024;
/// What a zip file adds to one deflated file named `bootstrap`: a local header, a directory entry and the end record
/// (APPNOTE.TXT 4.3).
const ZIP_OVERHEAD: usize = 30 + 46 + 22 + 2 * "bootstrap".len();

impl Size {
    /// Sizes of the file at `path`. Zipping is deflating at level 9, as `zip -9` does.
    pub(crate) fn of(path: &Path) -> anyhow::Result<Self> {
        let content = std::fs::read(path)?;
        let zip = (content.len() < NOT_STRIPPED)
            .then(|| miniz_oxide::deflate::compress_to_vec(&content, 9).len() + ZIP_OVERHEAD);
        Ok(Self { binary: content.len(), zip })
    }
}

/// What the machine is, and how busy it was before anything began.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load: f64 = read("/proc/loadavg").split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
    let busy = if load > count(cores) / 2.0 { " (**busy with something else: times are worth little**)" } else { "" };
    format!("{cores} × {}, load {load} at the start{busy}", model.unwrap_or(std::env::consts::ARCH))
}

/// A number with as many digits as it is worth.
fn shown(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Per event: whole numbers as such.
fn each(usage: &Usage, total: f64) -> String {
    let value = usage.per_event(total);
    if (value - value.round()).abs() < 0.005 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn mb(bytes: usize) -> String {
    format!("{:.2}", count(bytes) / 1e6)
}

/// Times, CPU and memory; several worlds stand side by side.
pub(crate) fn times(worlds: &[World], measured: &Measured) -> String {
    let mut text = String::from(
        "| | cold ms | init ms | first event ms | warm p50 ms | p95 | p99 | p50 by round | events/s | CPU ms/event | RSS MB |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for ((index, job), figures) in by_job(measured) {
        let name = name(worlds, index, job);
        let rounds: Vec<f64> = figures.warm.iter().map(|round| percentile(round, 0.5)).collect();
        let cells = [
            shown(median(&figures.cold)),
            shown(median(&figures.init)),
            shown(figures.first_event()),
            shown(figures.warm(0.5)),
            shown(figures.warm(0.95)),
            shown(figures.warm(0.99)),
            format!("{}…{}", shown(percentile(&rounds, 0.0)), shown(percentile(&rounds, 1.0))),
            format!("{:.0}", figures.per_second()),
            shown(median(&figures.cpu)),
            format!("{:.1}", median(&figures.memory_mb)),
        ];
        line(&mut text, &name, &cells);
    }
    text
}

/// How much slower the first world is than each other one.
pub(crate) fn ratios(worlds: &[World], measured: &Measured) -> String {
    let mut text = String::from("| | cold | init | warm p50 | CPU | RSS |\n|---|---:|---:|---:|---:|---:|\n");
    for ((index, job), other) in by_job(measured) {
        let Some(own) = measured.figures.get(&(0, job)).filter(|_| index > 0) else { continue };
        let ratio = |of: &dyn Fn(&Figures) -> f64| format!("{:.2}", of(own) / of(other));
        let cells = [
            ratio(&|figures| median(&figures.cold)),
            ratio(&|figures| median(&figures.init)),
            ratio(&|figures| figures.warm(0.5)),
            ratio(&|figures| median(&figures.cpu)),
            ratio(&|figures| median(&figures.memory_mb)),
        ];
        line(&mut text, &format!("{}: {} ÷ {}", job.title(), worlds[0].label, worlds[index].label), &cells);
    }
    text
}

/// On what the machine itself took, and what else it did.
pub(crate) fn yardsticks(measured: &Measured, rounds: usize) -> String {
    let Yardsticks { process, put } = &measured.yardsticks;
    format!(
        "Yardsticks of the same rounds: a process that does nothing takes {} ms from start to end (median of {}); putting \
         an inbox item straight into the stand-in for DynamoDB takes {} ms (p50 of {}). {} of {rounds} rounds began on a \
         quiet machine.\n",
        shown(median(process)),
        process.len(),
        shown(percentile(put, 0.5)),
        put.len(),
        measured.quiet_rounds,
    )
}

/// Binary and zip by function.
pub(crate) fn sizes(sizes: &BTreeMap<&str, Size>) -> String {
    let mut text = String::from("| | binary MB | zip MB |\n|---|---:|---:|\n");
    for (function, size) in sizes {
        let zip = size.zip.map_or_else(|| "not a release build".to_owned(), mb);
        line(&mut text, function, &[mb(size.binary), zip]);
    }
    text
}

/// Requests per event, for first events (with their initialisation) and warm ones.
pub(crate) fn requests(worlds: &[World], measured: &Measured) -> String {
    let mut text = String::from(
        "| | event | DynamoDB | of these refused | write units | read units | Secrets Manager | EZWhatsApp health | sends \
         | CRMs and team |\n\
         |---|---|---|---:|---:|---:|---:|---:|---:|---|\n",
    );
    for ((index, job), figures) in by_job(measured) {
        for (which, usage) in [("first", &figures.first), ("warm", &figures.steady)] {
            let cells = [
                which.to_owned(),
                listed(usage, usage.dynamo.iter().map(|(name, times)| (name.clone(), *times))),
                each(usage, count64(usage.refused)),
                each(usage, usage.write_units),
                each(usage, usage.read_units),
                each(usage, count64(usage.secrets)),
                each(usage, count64(usage.health)),
                each(usage, count64(usage.sends)),
                listed(usage, usage.peers.iter().map(|(peer, times)| (format!("{peer:?}"), *times))),
            ];
            line(&mut text, &name(worlds, index, job), &cells);
        }
    }
    text
}

/// Requests of different kinds, per event.
fn listed(usage: &Usage, requests: impl Iterator<Item = (String, u64)>) -> String {
    let all: Vec<String> = requests.map(|(name, times)| format!("{} {name}", each(usage, count64(times)))).collect();
    if all.is_empty() { "—".to_owned() } else { all.join(", ") }
}

/// Millions of instructions.
pub(crate) fn instructions(worlds: &[World], counted: &Counted) -> String {
    let mut text = String::from("| | init M | first event M | warm event M |\n|---|---:|---:|---:|\n");
    for ((job, index), count) in counted {
        line(&mut text, &name(worlds, *index, *job), &[shown(count.init), shown(count.first), shown(count.warm)]);
    }
    text
}

/// From an accepted delivery to a message.
pub(crate) fn end_to_end(result: &EndToEnd) -> String {
    let mut text = String::from("| ms | p50 | p95 | p99 |\n|---|---:|---:|---:|\n");
    let teller = result.cargo.teller();
    for (name, values) in [
        ("delivery → 2xx at the sender", &result.answered),
        (&*format!("2xx → {teller} has claimed it"), &result.waited),
        ("2xx → message at EZWhatsApp", &result.told),
    ] {
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| shown(percentile(values, share)));
        line(&mut text, name, &[p50, p95, p99]);
    }
    let (n, rate, share) = (result.told.len(), result.rate, result.share_waited() * 100.0);
    let sentence = format!(
        "\n{n} deliveries, {rate} a second. {share:.0} % of the time between 2xx and message passed before {teller} began \
         with it: the stream, its start and the deliveries before it. Here the stream's reader is woken by each write; Lambda \
         polls a stream about four times a second.\n"
    );
    text.push_str(&sentence);
    text
}

/// What the sender of line events waits for, and when CRMs have what was written.
pub(crate) fn line_events(result: &LineEvents) -> String {
    let mut text = String::from("| ms | p50 | p99 | p99 by round | events |\n|---|---:|---:|---:|---:|\n");
    for meanwhile in While::ALL {
        let rounds = result.answered.get(&meanwhile).map_or(&[][..], Vec::as_slice);
        let name = match meanwhile {
            While::Still => "event → 2xx, while conversation-sync stands still",
            While::Answering => "event → 2xx, while the CRMs answer",
            While::Hanging => "event → 2xx, while the CRMs hang",
        };
        let p99: Vec<f64> = rounds.iter().map(|round| percentile(round, 0.99)).collect();
        let spread = format!("{}…{}", shown(percentile(&p99, 0.0)), shown(percentile(&p99, 1.0)));
        let events = rounds.iter().map(Vec::len).sum::<usize>().to_string();
        line(&mut text, name, &[shown(over_rounds(rounds, 0.5)), shown(over_rounds(rounds, 0.99)), spread, events]);
    }
    for (crm, values) in &result.entered {
        let [p50, p99] = [0.5, 0.99].map(|share| shown(percentile(values, share)));
        line(&mut text, &format!("2xx → entry in `{crm}`"), &[p50, p99, "—".to_owned(), values.len().to_string()]);
    }
    let (ratio, to_still) = (result.hanging_to(While::Answering), result.hanging_to(While::Still));
    let verdict = if ratio <= MOST_WHILE_HANGING { "holds" } else { "**over**" };
    let sentence = format!(
        "\n**p99 while they hang ÷ while they answer: {ratio:.2}** (target ≤ {MOST_WHILE_HANGING}: {verdict}); ÷ while \
         conversation-sync stands still: {to_still:.2}. At most {} events a second, one after the other, through the gateway; {} \
         rounds began on a quiet machine. While the CRMs answer, an event is sent when the one before is in all of them; still \
         each wakes conversation-sync on the receiver's processors, which makes that part slower here and can't in the cloud. \
         From 2xx to entry includes the stream's wake-up: here each write wakes the reader; Lambda polls a stream about four \
         times a second. Everything was in every CRM afterwards.\n",
        result.rate, result.quiet_rounds,
    );
    text.push_str(&sentence);
    text
}

/// What each reminder takes, the more of them are due.
pub(crate) fn growth(sweeps: &[Swept]) -> String {
    let mut text = String::from(
        "| due | ms in all | ms each | DynamoDB each | write units each | read units each | sends each |\n\
         |---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for Swept { due, took_ms, usage } in sweeps {
        let each = |total: f64| shown(total / count(*due));
        let cells = [
            shown(*took_ms),
            each(*took_ms),
            each(count64(usage.dynamo_requests())),
            each(usage.write_units),
            each(usage.read_units),
            each(count64(usage.sends)),
        ];
        line(&mut text, &due.to_string(), &cells);
    }
    text
}

/// What an event of a job takes, as the bill wants to know it.
fn load(world: &World, job: Job, figures: &Figures) -> Load {
    let usage = &figures.steady;
    let function = world.stack.template().functions.iter().find(|function| function.name == job.function());
    Load {
        memory_mb: function.map_or(128.0, |function| f64::from(function.memory_mb)),
        cpu_ms: median(&figures.cpu),
        dynamo: usage.per_event(count64(usage.dynamo_requests())),
        write_units: usage.per_event(usage.write_units),
        read_units: usage.per_event(usage.read_units),
        secrets: usage.per_event(count64(usage.secrets)),
        ezw: usage.per_event(count64(usage.health + usage.sends)),
        log_bytes: figures.logged_per_event(),
        init_ms: median(&figures.init),
        secrets_at_start: figures.first.per_event(count64(figures.first.secrets)),
        through_gateway: job.function() == RECEIVER,
    }
}

/// US$ per million messages and per month; `None` unless both halves of a message were measured.
pub(crate) fn bill(world: &World, measured: &Measured) -> Option<String> {
    let loaded = |job: Job| measured.figures.get(&(0, job)).map(|figures| load(world, job, figures));
    let (delivery, message) = (loaded(Job::NewDelivery)?, loaded(Job::Message)?);
    let (received, told) = (delivery.bill(), message.bill());
    let mut text = String::from(
        "| US$ per million | HTTP API | Lambda requests | Lambda GB-s | writes | reads | Secrets Manager | logs | sum |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for (name, bill) in [
        (format!("deliveries accepted ({:.0} ms billed)", delivery.duration_ms()), received),
        (format!("messages told ({:.0} ms billed)", message.duration_ms()), told),
        ("**messages, with the delivery of each**".to_owned(), received.plus(&told)),
    ] {
        let Bill { gateway, requests, compute, writes, reads, secrets, logs } = bill;
        let parts = [gateway, requests, compute, writes, reads, secrets, logs, bill.total()];
        line(&mut text, &name, &parts.map(|part| format!("{part:.2}")));
    }
    let secrets = world.stack.secrets().names().len();
    let rent = count(secrets) * cost::SECRET_MONTH;
    let mut monthly = vec![format!("US$ {rent:.2} for {secrets} secrets")];
    if let Some(tick) = loaded(Job::IdleTick) {
        let ticks = tick.bill().total() * cost::MONTHLY_TICKS / 1e6;
        monthly.push(format!("US$ {ticks:.2} for {:.0} ticks of the schedule", cost::MONTHLY_TICKS));
    }
    let monthly = monthly.join(" and ");
    Some(format!("{text}\nEach month besides, however much is told: {monthly}.\n\n{}", assumptions(world)))
}

fn assumptions(world: &World) -> String {
    let memory = world.stack.template().functions.iter().map(|function| function.memory_mb.to_string());
    let mut memory: Vec<String> = memory.collect();
    memory.dedup();
    format!(
        "Assumed: list prices of us-east-1 in US$ (Lambda arm64 {} per GB-s and {} per million requests; DynamoDB on demand {} \
         per million write units, {} per million read units; HTTP API {} per million; Secrets Manager {} per million calls, \
         {} per secret and month; logs {} per GB); {} MB, of which {} make a processor, for every event (Lambda allows \
         short bursts, so its bill is lower); {:.0} % cold; in the cloud {} ms for a request to DynamoDB, {} ms to Secrets \
         Manager, {} ms to EZWhatsApp, one after the other; {} bytes of Lambda's own log lines per event.\n",
        cost::LAMBDA_GB_SECOND,
        cost::LAMBDA_REQUESTS,
        cost::WRITE_UNITS,
        cost::READ_UNITS,
        cost::HTTP_API,
        cost::SECRETS_CALLS,
        cost::SECRET_MONTH,
        cost::LOGS_GB,
        memory.join("/"),
        cost::MB_PER_CPU,
        100.0 * cost::COLD_SHARE,
        cost::DYNAMO_MS,
        cost::SECRETS_MS,
        cost::EZW_MS,
        cost::PLATFORM_LOG_BYTES,
    )
}

/// The figures that have a target of their own, whatever machine they were measured on.
pub(crate) fn targets(measured: &Measured, sizes: &BTreeMap<&str, Size>, counted: &Counted) -> String {
    let mut text = String::from("| | target | measured | |\n|---|---:|---:|---|\n");
    let mut row = |name: String, most: f64, found: f64| {
        let verdict = if found <= most { "holds" } else { "**over**" };
        line(&mut text, &name, &[format!("≤ {most}"), shown(found), verdict.to_owned()]);
    };
    for (function, size) in sizes {
        if let Some(zip) = size.zip {
            row(format!("{function}: zip MB"), 4.0, count(zip) / 1e6);
        }
    }
    if let Some(count) = counted.get(&(Job::NewDelivery, 0)) {
        row("receiver: init, M instructions".to_owned(), 3.0, count.init);
        row("receiver: first event, M instructions".to_owned(), 6.0, count.first);
        row("receiver: warm event, M instructions".to_owned(), 2.0, count.warm);
    }
    for job in Job::ALL {
        if let Some(figures) = measured.figures.get(&(0, job)) {
            row(format!("{}: RSS MB", job.title()), 12.0, median(&figures.memory_mb));
        }
    }
    if let Some(Figures { steady: usage, .. }) = measured.figures.get(&(0, Job::NewDelivery)) {
        row("delivery: DynamoDB requests".to_owned(), 1.0, usage.per_event(count64(usage.dynamo_requests())));
        row("delivery: write units".to_owned(), 2.0, usage.per_event(usage.write_units));
    }
    if let Some(Figures { steady: usage, .. }) = measured.figures.get(&(0, Job::Message)) {
        let reads = ["GetItem", "Query", "Scan"].iter().filter_map(|name| usage.dynamo.get(*name)).sum::<u64>();
        row(
            format!("message ({NOTIFIER}): DynamoDB writes"),
            2.0,
            usage.per_event(count64(usage.dynamo_requests() - reads)),
        );
        row("message: write units".to_owned(), 5.0, usage.per_event(usage.write_units));
        row("message: reads".to_owned(), 1.0, usage.per_event(count64(reads)));
    }
    text
}

/// A job's name, with that of its world where there are several.
fn name(worlds: &[World], index: usize, job: Job) -> String {
    match worlds {
        [_] => job.title().to_owned(),
        _ => format!("{}, {}", job.title(), worlds[index].label),
    }
}

fn by_job(measured: &Measured) -> Vec<((usize, Job), &Figures)> {
    let mut all: Vec<_> = measured.figures.iter().map(|(key, figures)| (*key, figures)).collect();
    all.sort_by_key(|((index, job), _)| (*job, *index));
    all
}

fn line(text: &mut String, name: &str, cells: &[String]) {
    for part in ["| ", name, " | ", &cells.join(" | "), " |\n"] {
        text.push_str(part);
    }
}
