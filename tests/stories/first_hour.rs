//! The first hour of a new user: `tellonce new` makes a client, `cargo run` starts it, and the key
//! `o` sends its first message. The programs run as a person runs them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};
use serde_json::{Value, json};
use tellonce_core::bootstrap::build_http_client;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::sources::workspace_root;

/// A start or a message that takes longer failed.
const PATIENCE: Duration = Duration::from_mins(1);

fn program(name: &str) -> PathBuf {
    tellonce_stack::build::binaries_folder().unwrap().join(name)
}

/// An empty project: what `tellonce new` looks for, and nothing else.
fn empty_project() -> TempDir {
    let project = tempfile::tempdir().unwrap();
    for file in ["template.yaml", "samconfig.toml"] {
        fs::copy(workspace_root().join(file), project.path().join(file)).unwrap();
    }
    project
}

async fn tellonce(project: &Path, line: &str) -> Output {
    let mut command = Command::new(program("tellonce"));
    command.args(line.split_whitespace()).current_dir(project).output().await.unwrap()
}

async fn make_client(project: &Path, client: &str, options: &str) -> PathBuf {
    let made = tellonce(project, &format!("new {client} {options}")).await;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let checked = tellonce(project, &format!("check clients/{client}")).await;
    let report = String::from_utf8(checked.stdout).unwrap();
    assert!(report.contains(": 0 errors, 0 warnings ("), "{report}");
    project.join("clients").join(client)
}

/// A run of the local stack, with its keyboard and its output.
struct LocalRun {
    http: reqwest::Client,
    process: Child,
    keys: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    welcome: String,
    _state: Option<TempDir>,
}

impl LocalRun {
    async fn start(client: &Path) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut command = Command::new(program("local"));
        command.args(["--no-build", "--port", "0", "--provider-port", "0", "--client"]).arg(client);
        command.arg("--state").arg(state.path()).current_dir(workspace_root());
        Self { _state: Some(state), ..Self::spawn(command).await }
    }

    /// Starts a client of a project as the README says, without further options.
    async fn start_in(project: &Path, client: &str) -> Self {
        let mut command = Command::new(program("local"));
        command.args(["--no-build", "--client", &format!("clients/{client}")]).current_dir(project);
        Self::spawn(command).await
    }

    async fn spawn(mut command: Command) -> Self {
        let command = command.kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let keys = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        let http = build_http_client().unwrap();
        let mut run = Self { http, process, keys, output, welcome: String::new(), _state: None };
        while !run.welcome.contains("Keys, each followed by Enter") {
            let line = run.wait_for_line("").await;
            run.welcome = format!("{}{line}\n", run.welcome);
        }
        run
    }

    /// Presses a key and returns the next line that contains `text`.
    async fn press(&mut self, key: &str, text: &str) -> String {
        self.keys.write_all(format!("{key}\n").as_bytes()).await.unwrap();
        self.wait_for_line(text).await
    }

    /// The next line that contains `text`. Lines of other events may come first.
    async fn wait_for_line(&mut self, text: &str) -> String {
        let mut others = Vec::new();
        loop {
            let next = timeout(PATIENCE, self.output.next_line()).await;
            match next.unwrap_or_else(|_| panic!("no line with {text:?} behind {others:#?}")).unwrap() {
                Some(line) if line.contains(text) => return line,
                Some(line) => others.push(line),
                None => panic!("the run ended behind {others:#?}"),
            }
        }
    }

    /// The first address behind `label` in the output of the start.
    fn address(&self, label: &str) -> String {
        let line = self.welcome.lines().find(|line| line.trim_start().starts_with(label)).unwrap();
        line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().trim_end_matches('/').to_owned()
    }

    /// The texts that the fake provider took, as soon as there are `count`.
    async fn texts(&self, count: usize) -> Vec<String> {
        let url = format!("{}/_fake/state", self.address("EZWhatsApp"));
        let look = async {
            loop {
                let state: Value = self.http.get(&url).send().await.unwrap().json().await.unwrap();
                let messages = state["messages"].as_array().cloned().unwrap_or_default();
                if messages.len() >= count {
                    return messages.iter().map(|message| message["body"].as_str().unwrap().to_owned()).collect();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, look).await.expect("the message arrives")
    }

    /// Moves the clock as the console does, as soon as there is something to wait for.
    async fn move_clock_to_next_due(&self) {
        let url = format!("{}/_console/clock", self.address("console"));
        let move_clock = async || {
            while !self.http.post(&url).json(&json!({"to_next": true})).send().await.unwrap().status().is_success() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, move_clock()).await.expect("the appointment is known");
    }

    async fn quit(mut self) {
        self.keys.write_all(b"q\n").await.unwrap();
        assert!(timeout(PATIENCE, self.process.wait()).await.expect("the run ends").unwrap().success());
    }
}

/// Makes a client, starts it and presses `o`, which answers with `answer`. Returns the first text.
async fn first_text(client: &str, options: &str, answer: &str) -> String {
    let project = empty_project();
    let folder = make_client(project.path(), client, options).await;
    let mut run = LocalRun::start(&folder).await;
    run.press("o", answer).await;
    if answer.contains("The reminder is due") {
        run.move_clock_to_next_due().await;
    }
    let text = run.texts(1).await.remove(0);
    run.quit().await;
    text
}

#[tokio::test]
async fn a_new_client_of_each_store_kind_sends_its_first_message() {
    for (kind, country) in [("shopify", "IL"), ("woocommerce", "DE"), ("custom", "FR")] {
        let options = format!("--country {country} --store {kind} --languages en");
        let text = first_text("corner-shop", &options, "accepted (200)").await;
        assert!(text.contains("is ready for you") && text.contains("Corner Shop"), "{kind}: {text}");
    }
}

#[tokio::test]
async fn a_new_client_of_several_form_kinds_greets_its_first_lead() {
    for (kind, country, language, greeting) in [
        ("web", "IL", "he", "תודה על הפנייה אל Studio"),
        ("typeform", "GB", "en", "thanks for getting in touch with Studio"),
        ("jotform", "DE", "de", "vielen Dank für Ihre Anfrage bei Studio"),
    ] {
        let options = format!("--country {country} --form {kind} --languages {language}");
        let text = first_text("studio", &options, "A lead of contact: accepted").await;
        assert!(text.contains(greeting), "{kind}: {text}");
    }
}

#[tokio::test]
async fn a_new_client_of_several_calendar_kinds_sends_its_first_reminder() {
    for (kind, country) in [("ics", "DE"), ("calcom", "IL"), ("square", "GB")] {
        let options = format!("--country {country} --calendar {kind} --languages en");
        let text = first_text("clinic", &options, "The reminder is due in 20 seconds").await;
        assert!(text.contains("a reminder of your appointment"), "{kind}: {text}");
    }
}

#[tokio::test]
async fn the_request_that_a_start_prints_has_the_response_that_it_names() {
    let mut run = LocalRun::start(&workspace_root().join("clients/demo")).await;
    let lines: Vec<&str> = run.welcome.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("Try: ")).unwrap();
    assert!(lines[at + 1].contains("the response is 401"), "{}", run.welcome);
    let command = lines[at].trim_start_matches("Try: ").to_owned();
    let tried = Command::new("bash").args(["-c", &command]).output().await.unwrap();
    let reply = String::from_utf8_lossy(&tried.stdout);
    assert!(reply.starts_with("HTTP/1.1 401"), "{command}: {reply}");
    run.wait_for_line("  refused (401): ").await;
    run.press("c", &format!("The console is at {}/", run.address("console"))).await;
    run.press("r", "The schedule has run").await;
    run.quit().await;
}

#[tokio::test]
async fn the_terminal_says_what_came_in_what_was_sent_and_what_was_recognised() {
    let mut run = LocalRun::start(&workspace_root().join("clients/demo")).await;
    run.press("o", "  came in").await;
    run.wait_for_line(":received  sent: EZWhatsApp accepted it").await;
    run.wait_for_line(":received  arrived: it is on the phone").await;
    run.press("d", "  again: recognised, nothing is sent (it came in at ").await;
    run.press("l", "The line is down").await;
    run.quit().await;
}

#[tokio::test]
async fn a_recorded_delivery_is_previewed_as_it_came() {
    let project = empty_project();
    make_client(project.path(), "acme", "--country IL --store woocommerce").await;
    let mut command = Command::new(program("local"));
    command.args(["--no-build", "--client", "clients/acme", "--port", "0", "--provider-port", "0"]);
    command.args(["--record", "recorded"]).current_dir(project.path());
    let mut run = LocalRun::spawn(command).await;
    run.press("o", "accepted (200)").await;
    let sent = run.texts(1).await.remove(0);
    run.quit().await;
    let preview = "preview --client clients/acme --route /stores/shop --folder recorded/shop";
    let previewed = tellonce(project.path(), preview).await;
    let shown = String::from_utf8(previewed.stdout).unwrap();
    assert!(previewed.status.success() && shown.contains(&sent), "{sent}\n{shown}");
}

#[tokio::test]
async fn two_clients_run_side_by_side_without_options_and_explain_finds_the_one_that_is_left() {
    let project = empty_project();
    let explain = async || {
        let asked = tellonce(project.path(), "explain order:1").await;
        String::from_utf8(asked.stderr).unwrap()
    };
    for client in ["first", "second"] {
        make_client(project.path(), client, "--country IL --store custom").await;
    }
    assert!(explain().await.contains("no stack runs with the state folder .local"));
    let first = LocalRun::start_in(project.path(), "first").await;
    let mut second = LocalRun::start_in(project.path(), "second").await;
    assert!(second.welcome.contains(" is taken by "), "{}", second.welcome);
    assert_ne!(first.address("console"), second.address("console"));
    let several = explain().await;
    assert!(several.contains("choose one with --state: .local/first, .local/second"), "{several}");
    first.quit().await;
    second.press("o", "accepted (200)").await;
    assert_eq!(second.texts(1).await.len(), 1);
    let asked = explain().await;
    assert!(
        asked.contains("neither a message nor a delivery of `order:1` is stored"),
        "the ledger of `second`: {asked}"
    );
    second.quit().await;
}

#[tokio::test]
async fn a_start_names_what_is_wrong_in_a_client_with_line_and_remedy() {
    let project = empty_project();
    let client = make_client(project.path(), "acme", "--country IL --store shopify").await;
    let settings = fs::read_to_string(client.join("client.toml")).unwrap();
    fs::write(client.join("client.toml"), settings.replacen("useful_for = \"3d\"", "useful_fro = \"3d\"", 1)).unwrap();
    let run = LocalRun::start(&client).await;
    assert!(run.welcome.contains("so the functions cannot load it"), "{}", run.welcome);
    assert!(run.welcome.contains(": `useful_fro` is not a setting of `messages.paid`"), "{}", run.welcome);
    assert!(run.welcome.contains("    → did you mean `useful_for`?"), "{}", run.welcome);
    run.quit().await;
}

#[tokio::test]
async fn in_a_terminal_a_key_needs_no_enter_and_the_terminal_is_as_before_afterwards() {
    let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&keyboard).unwrap();
    unlockpt(&keyboard).unwrap();
    let name = ptsname(&keyboard, Vec::new()).unwrap();
    let terminal = fs::File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let before = tcgetattr(&terminal).unwrap().local_modes;
    assert!(before.contains(LocalModes::ICANON | LocalModes::ECHO));

    let state = tempfile::tempdir().unwrap();
    let mut command = Command::new(program("local"));
    command.args(["--no-build", "--port", "0", "--provider-port", "0", "--client", "clients/demo", "--state"]);
    command.arg(state.path()).current_dir(workspace_root()).kill_on_drop(true);
    let mut process = command.stdin(terminal.try_clone().unwrap()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
    while !output.next_line().await.unwrap().unwrap().starts_with("Keys: ") {}
    assert!(!tcgetattr(&terminal).unwrap().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO));
    rustix::io::write(&keyboard, b"q").unwrap();
    assert!(timeout(PATIENCE, process.wait()).await.expect("the run ends").unwrap().success());
    assert_eq!(tcgetattr(&terminal).unwrap().local_modes, before);
}

#[tokio::test]
async fn a_client_that_exists_is_not_written_again() {
    let project = empty_project();
    make_client(project.path(), "acme-shop", "--country IL --store shopify").await;
    let before = fs::read_to_string(project.path().join("samconfig.toml")).unwrap();
    assert!(before.contains("[acme-shop.deploy.parameters]"), "{before}");
    let again = tellonce(project.path(), "new acme-shop --country IL --store shopify").await;
    let error = String::from_utf8(again.stderr).unwrap();
    assert!(!again.status.success() && error.contains("has the environment `acme-shop` already"), "{error}");
    assert_eq!(fs::read_to_string(project.path().join("samconfig.toml")).unwrap(), before);
}
