//! Links between documents lead somewhere.

use regex_lite::Regex;

use crate::{files, read, root};

#[test]
fn every_link_to_a_file_leads_to_one() {
    let link = Regex::new(r"\]\(([^)#\s]+)(?:#[^)]*)?\)").unwrap();
    let mut checked = 0;
    let top = [
        "README.md",
        "ARCHITECTURE.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    ];
    let documents = top
        .into_iter()
        .chain([
            "npm/README.md",
            "benches/README.md",
            "lightning-mock/README.md",
        ])
        .map(root)
        .chain(files(&root("docs")));
    for document in documents.filter(|path| path.extension().is_some_and(|kind| kind == "md")) {
        let folder = document.parent().expect("a document is in a folder");
        for found in link.captures_iter(&read(&document)) {
            let target = &found[1];
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            assert!(
                folder.join(target).exists(),
                "{}: {target} leads nowhere",
                document.display()
            );
        }
    }
    assert!(checked > 20, "only {checked} links were found");
}
