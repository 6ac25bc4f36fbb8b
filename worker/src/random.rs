//! Random numbers that matter: made on the host, from a purpose and the numbers that decide them.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// A generator for one purpose. Other purposes and other numbers give unrelated streams, on every platform the same.
#[must_use]
pub fn generator(purpose: &str, numbers: &[u64]) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(purpose.as_bytes());
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}
