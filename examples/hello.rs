//! The program of the README.

use nofault::{AlignedBuf, Engine, File};

fn main() -> std::io::Result<()> {
    let engine = Engine::new()?;
    let file = File::create(&engine, "hello.dat")?;
    println!("{}; hello.dat: {}", engine.info(), file.path());

    engine.block_on(async {
        let mut writes = Vec::new();
        for i in 0..8 {
            // Fresh memory, not one page of it is there. The request starts here, and this thread
            // faults nothing in.
            writes.push(file.write_all_at(AlignedBuf::new(1 << 20)?, i << 20));
        }
        for write in writes {
            write.await.0?;
        }
        file.sync_all().await?;

        // Any offset, any length, any memory. The buffer comes back with the result.
        let (count, _buffer) = file.read_at(Vec::with_capacity(1000), (5 << 20) + 7).await;
        println!("read {} bytes\n{}", count?, engine.stats());
        std::fs::remove_file("hello.dat")
    })
}
