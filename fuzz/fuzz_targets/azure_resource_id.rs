//! Resource ids: what parses is written as it parses; a child lies below its parent, and nothing contains its neighbour.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_azure::ResourceId;

fuzz_target!(|text: &str| {
    let Ok(id) = text.parse::<ResourceId>() else { return };
    assert_eq!(id.as_str().parse::<ResourceId>(), Ok(id.clone()));
    assert!(id.contains(&id) && ResourceId::root().contains(&id));
    if let Ok(child) = id.child("providers/a/b") {
        assert!(id.contains(&child) && !child.contains(&id));
    }
    if id != ResourceId::root()
        && let Ok(neighbour) = format!("{id}x").parse::<ResourceId>()
    {
        assert!(!id.contains(&neighbour) && !neighbour.contains(&id));
    }
});
