//! Loads the plugin and a copy of it side by side, calls both from threads and from inside a Tokio runtime, unloads them, twice, and
//! counts what is left.

mod footprint;
mod plugin;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::{env, fs, io, thread};

use footprint::Footprint;
use plugin::{Account, Plugin};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), BoxError> {
    let library = PathBuf::from(env::args_os().nth(1).ok_or("usage: plugin-host PLUGIN")?);
    let account = Account {
        issuer: env::var("AERO2_ISSUER")?,
        id: env::var("AERO2_CLIENT_ID")?,
        secret: env::var("AERO2_CLIENT_SECRET")?,
    };
    // Another file is another library for the loader: with globals of its own, if it had any.
    let copy = library.with_extension("copy.so");
    fs::copy(&library, &copy)?;

    // What the runtime and the loader keep for good is made before the first count.
    on_a_thread(|| runtime()?.block_on(async { Ok(()) }))?;
    let before = Footprint::take(&[&library, &copy])?;
    println!("before:              {before}");
    for round in ["first", "second"] {
        let during = round_trip(&library, &copy, &account)?;
        println!("{round:>6} round, loaded: {during}");
        let after = Footprint::take(&[&library, &copy])?;
        println!("{round:>6} round, after:  {after}");
        if after != before {
            return Err(format!("the plugin left something behind:\n{}", after.difference(&before)).into());
        }
    }
    fs::remove_file(&copy)?;
    println!("nothing is left");
    Ok(())
}

/// Loads both, uses both, unloads both. They are used on threads that have ended by then, since a library stays in memory as long as a
/// thread lives that has thread-local values of it to drop.
fn round_trip(library: &Path, copy: &Path, account: &Account) -> Result<Footprint, BoxError> {
    let plugins: Arc<[Plugin]> = Arc::new([Plugin::load(library)?, Plugin::load(copy)?]);
    let (used, account, paths) = (plugins.clone(), account.clone(), [library.to_owned(), copy.to_owned()]);
    let footprint = on_a_thread(move || {
        let handles: Vec<_> = used.iter().map(|plugin| plugin.open(&account)).collect::<Result<_, _>>()?;
        let handles = Arc::new(handles);
        from_threads(&handles)?;
        from_a_runtime(&handles)?;
        for handle in handles.iter() {
            // One request each for discovery, keys and a token: nothing was asked twice, and nothing came from the other copy.
            let requests = handle.requests();
            if requests != 3 {
                return Err(format!("a copy made {requests} requests instead of 3").into());
            }
        }
        Footprint::take(&[&paths[0], &paths[1]])
    })?;
    drop(plugins);
    Ok(footprint)
}

/// Eight threads at once, each with both copies.
fn from_threads(handles: &Arc<Vec<plugin::Handle>>) -> Result<(), BoxError> {
    let start = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (start, handles) = (start.clone(), handles.clone());
            thread::spawn(move || {
                start.wait();
                handles.iter().try_for_each(plugin::Handle::check)
            })
        })
        .collect();
    threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
}

/// From the threads that a runtime has for blocking calls.
fn from_a_runtime(handles: &Arc<Vec<plugin::Handle>>) -> Result<(), BoxError> {
    runtime()?.block_on(async {
        let calls: Vec<_> = (0..8)
            .map(|_| {
                let handles = handles.clone();
                tokio::task::spawn_blocking(move || handles.iter().try_for_each(plugin::Handle::check))
            })
            .collect();
        for call in calls {
            call.await??;
        }
        Ok(())
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()
}

fn on_a_thread<T: Send + 'static>(run: impl FnOnce() -> Result<T, BoxError> + Send + 'static) -> Result<T, BoxError> {
    thread::spawn(run).join().map_err(|_| "a thread panicked")?
}
