//! The page "Containers, forks and limits": each of its items names the test that shows it.

use std::fs;
use std::path::Path;

/// All of the project's Rust, in one text.
fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            sources(&path, text);
        } else if name.ends_with(".rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// The items of a page of Markdown: from one dash to the next, or to the next heading.
fn items(page: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let mut within = false;
    for line in page.lines() {
        if line.starts_with("- ") {
            items.push(String::new());
            within = true;
        } else if line.starts_with('#') {
            within = false;
        }
        if let (true, Some(item)) = (within, items.last_mut()) {
            item.push_str(line);
            item.push('\n');
        }
    }
    items
}

#[test]
fn every_sentence_on_limits_names_tests_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    sources(root, &mut text);
    let page = fs::read_to_string(root.join("src/manual/limits.md")).unwrap();
    let items = items(&page);
    assert!(!items.is_empty());
    for item in items {
        let tests = item.split("<!-- test: ").nth(1).and_then(|rest| rest.split(" -->").next());
        let tests = tests.unwrap_or_else(|| panic!("it names no test:\n{item}"));
        for test in tests.split_whitespace() {
            let name = test.trim_end_matches(',');
            assert!(text.contains(&format!("fn {name}(")), "there is no test `{name}`:\n{item}");
        }
    }
}
