use std::path::Path;

use clap::Parser;

use super::*;
use crate::secrets::SecretsFile;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: NewArguments,
}

fn plan(line: &str) -> anyhow::Result<NewClient> {
    let words = std::iter::once("new").chain(line.split_whitespace());
    NewClient::plan(&Line::try_parse_from(words)?.arguments)
}

fn plan_error(line: &str) -> String {
    plan(line).err().map(|error| error.to_string()).unwrap_or_default()
}

fn all_languages() -> String {
    STARTER_TEXTS.iter().map(|texts| texts.language).collect::<Vec<_>>().join(",")
}

/// Writes the client and reads its secrets as `tellonce check` does.
fn secrets_findings(new: &NewClient) -> Vec<Finding> {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("clients").join(&new.config.client);
    new.write(&folder, root.path()).unwrap();
    SecretsFile::read(&folder.join("secrets.json")).unwrap().check(&new.config)
}

#[test]
fn every_kind_alone_and_all_together_pass_the_check_in_every_language() {
    let languages = all_languages();
    let mut all = format!("acme --country IL --languages {languages}");
    for (option, kinds) in [("--store", &STORES[..]), ("--calendar", &CALENDARS), ("--form", &FORMS)] {
        for kind in kinds {
            let line = format!("acme --country IL --languages {languages} {option} {}", kind.name);
            let new = plan(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(secrets_findings(&new), [], "{line}");
            all = format!("{all} {option} {}", kind.name);
        }
    }
    let new = plan(&all).unwrap();
    assert_eq!((new.config.stores.len(), new.config.calendars.len(), new.config.forms.len()), (3, 6, 12));
    assert_eq!(secrets_findings(&new), []);
}

#[test]
fn a_new_client_is_short_and_says_what_it_is() {
    let new = plan("acme --country IL --store woocommerce --calendar ics --form web --languages he,en").unwrap();
    insta::assert_snapshot!(new.client_toml);
    insta::assert_snapshot!("decisions", new.decisions);
    insta::assert_snapshot!("next_steps", new.describe(Path::new("clients/acme")).unwrap());
    let small = plan("acme --country IL --store woocommerce").unwrap();
    assert!(small.client_toml.lines().count() < 40, "{}", small.client_toml);
}

#[test]
fn what_cannot_be_made_is_refused_with_a_remedy() {
    for (line, says) in [
        ("acme --country IL", "a client needs a sender: add `--store KIND`"),
        ("acme --country IL --store shopify --languages en,tlh", "there are no texts in `tlh`; choose from en, he"),
        ("acme --country US --store shopify", "add `--time-zone ZONE`"),
        ("acme --country XX --time-zone UTC --store shopify", "`XX` is not a supported country code; write its"),
        ("acme --country IL --time-zone Asia/Tel --store shopify", "there is no time zone `Asia/Tel`"),
        ("Acme! --country IL --store shopify", "`Acme!` cannot be part of names in AWS; use 2 to 30 lower-case"),
        ("acme --country IL --store shopify --store shopify", "`shopify` is named twice"),
        ("acme --country IL --store magento", "invalid value 'magento'"),
    ] {
        let error = plan_error(line);
        assert!(error.contains(says), "{line}: {error}");
    }
}

#[test]
fn a_folder_with_files_and_a_folder_with_another_name_stay_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    let new = plan("acme --country IL --store shopify").unwrap();
    let folder = root.path().join("elsewhere/acme");
    new.write(&folder, root.path()).unwrap();
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(read(".gitignore"), "/secrets.json\n");
    assert!(!read("client.toml").contains("#:schema"), "the schema is not beside it");
    let again = new.write(&folder, root.path()).unwrap_err().to_string();
    assert!(again.contains("exists already; choose another name"), "{again}");
    let renamed = new.write(&root.path().join("other"), root.path()).unwrap_err().to_string();
    assert!(renamed.contains("must be named `acme`"), "{renamed}");
}
