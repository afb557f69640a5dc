use super::*;
use crate::config::test_files::Files;
use crate::mail::Domain;
use crate::srs::{Secret, Srs};
use crate::store::testing::StalledDisk;

struct World {
    aliases: Arc<Aliases>,
    tree: Tree,
    token: AliasToken,
    original: Address,
    _data: tempfile::TempDir,
}

/// Aliases with one that was last used so many days ago.
async fn world(max_age_days: u16, days_ago: u32) -> World {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let committer = Committer::start(store.clone()).unwrap();
    let aliases = Arc::new(Aliases::open(&store, committer, max_age_days).unwrap());
    let srs = Srs::new(vec![Secret::new(b"tops3cr3t of sixteen")], 21);
    let original = Address::parse(&format!("{}@long.example", "l".repeat(60))).unwrap();
    let forwarding = Domain::parse("ours.example").unwrap();
    let (_, token) = srs.alias(&original, &forwarding, clock::now()).unwrap();
    aliases.clone().keep(token.clone(), original.clone()).await.unwrap();
    let tree = store.tree("srs_aliases").unwrap();
    let value = [&(today() - days_ago).to_be_bytes()[..], original.to_string().as_bytes()].concat();
    tree.insert(token.as_str().as_bytes(), &value).unwrap();
    World { aliases, tree, token, original, _data: data }
}

impl World {
    fn reload(&self, max_age_days: u16) {
        let files = Files::new();
        let text = files.with(&format!("srs.max_age_days = {max_age_days}"));
        let config = Arc::new(Config::parse(&text, &[]).unwrap());
        let Ok(prepared) = self.aliases.prepare(&config);
        self.aliases.swap(prepared);
    }

    fn is_kept(&self) -> bool {
        self.tree.get(self.token.as_str().as_bytes()).unwrap().is_some()
    }
}

#[tokio::test]
async fn an_original_is_found_for_as_long_as_the_configuration_says_now() {
    let world = world(21, 10).await;
    assert_eq!(world.aliases.find_here(&world.token).unwrap(), Some(world.original.clone()));
    world.reload(5);
    assert_eq!(world.aliases.find_here(&world.token).unwrap(), None);
    world.reload(21);
    assert_eq!(world.aliases.find_here(&world.token).unwrap(), Some(world.original.clone()));
}

#[tokio::test]
async fn an_original_that_is_too_old_is_forgotten_while_the_node_runs() {
    let world = world(21, 10).await;
    world.aliases.expire().unwrap();
    assert!(world.is_kept());
    world.reload(5);
    world.aliases.expire().unwrap();
    assert!(!world.is_kept());
    assert_eq!(*world.aliases.count.lock(), 0);
}

#[tokio::test]
async fn a_disk_that_does_not_answer_holds_up_no_thread_of_the_runtime() {
    let world = world(21, 10).await;
    let disk = StalledDisk::of(world.aliases.clone(), |aliases| &aliases.count).await;
    let keep = tokio::spawn(world.aliases.clone().keep(world.token.clone(), world.original.clone()));
    tokio::task::yield_now().await;
    // The only thread of this test's runtime comes here while the alias waits.
    let was_free = disk.release();
    keep.await.unwrap().unwrap();
    assert!(was_free && disk.was_released(), "the runtime waited for the disk");
}

/// Other nodes that have this.
struct Peers {
    has: Elsewhere,
    told: Mutex<Vec<(AliasToken, Address, Duration)>>,
}

impl Others for Peers {
    fn tell(&self, token: AliasToken, original: Address, lasts: Duration) {
        self.told.lock().push((token, original, lasts));
    }

    fn ask(&self, _token: AliasToken) -> BoxFuture<'_, Elsewhere> {
        Box::pin(std::future::ready(self.has.clone()))
    }
}

#[tokio::test]
async fn others_are_told_of_what_is_new_and_asked_for_what_is_not_here() {
    let other = AliasToken::parse("abcdefghijklmnop").unwrap();
    let original = Address::parse("somebody@else.example").unwrap();
    for (has, found) in [
        (Elsewhere::Found(original.clone()), Original::Known(original.clone())),
        (Elsewhere::Nowhere, Original::Unknown),
        (Elsewhere::Silent, Original::Unanswered),
    ] {
        let world = world(21, 0).await;
        let peers = Arc::new(Peers { has, told: Mutex::default() });
        world.aliases.share(peers.clone());
        world.aliases.clone().keep(world.token.clone(), world.original.clone()).await.unwrap();
        assert!(peers.told.lock().is_empty(), "it was there today");
        let aliases = world.aliases.clone();
        assert_eq!(aliases.find(world.token.clone()).await.unwrap(), Original::Known(world.original.clone()));
        assert_eq!(world.aliases.clone().find(other.clone()).await.unwrap(), found);
        let is_kept = world.aliases.find_here(&other).unwrap().is_some();
        assert_eq!(is_kept, found == Original::Known(original.clone()));
        let new = AliasToken::parse("qrstuvwxyz234567").unwrap();
        world.aliases.clone().keep(new.clone(), original.clone()).await.unwrap();
        assert_eq!(*peers.told.lock(), [(new, original.clone(), 22 * DAY)]);
    }
}

#[tokio::test]
async fn what_another_node_tells_is_found_here_and_not_told_on() {
    let world = world(21, 0).await;
    let peers = Arc::new(Peers { has: Elsewhere::Nowhere, told: Mutex::default() });
    world.aliases.share(peers.clone());
    let token = AliasToken::parse("abcdefghijklmnop").unwrap();
    world.aliases.hear(&token, &world.original, 22 * DAY).unwrap();
    assert_eq!(world.aliases.find_here(&token).unwrap(), Some(world.original.clone()));
    assert!(peers.told.lock().is_empty());
}

#[tokio::test]
async fn what_another_node_tells_lasts_as_long_as_there() {
    let world = world(21, 0).await;
    let token = AliasToken::parse("abcdefghijklmnop").unwrap();
    world.aliases.hear(&token, &world.original, 3 * DAY).unwrap();
    let last_used = parse(&world.tree.get(token.as_str().as_bytes()).unwrap().unwrap()).unwrap().0;
    assert_eq!(today() - last_used, 19);
    world.aliases.hear(&token, &world.original, 22 * DAY).unwrap();
    world.aliases.hear(&token, &world.original, 3 * DAY).unwrap();
    let last_used = parse(&world.tree.get(token.as_str().as_bytes()).unwrap().unwrap()).unwrap().0;
    assert_eq!(last_used, today(), "the latest use counts");
}
