//! Messages between a worker and its executors: four bytes of length, least significant first, then the message.

use std::io::{self, Read, Write};

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The longest message that either side takes.
const LONGEST: u32 = 64 << 20;

/// A stream that holds no message where one should be.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The pipe is broken, or ended within a message.
    #[error("the pipe between worker and executor is broken")]
    Io(#[from] io::Error),
    /// The bytes are no message.
    #[error("cannot read a message between worker and executor")]
    Decode(#[from] prost::DecodeError),
    /// The length cannot be true.
    #[error("a message between worker and executor says it has {0} bytes")]
    TooLong(u32),
}

fn encode(message: &impl Message) -> Result<Vec<u8>, FrameError> {
    let length = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
    if length > LONGEST {
        return Err(FrameError::TooLong(length));
    }
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend(message.encode_to_vec());
    Ok(bytes)
}

fn buffer(length: [u8; 4]) -> Result<Vec<u8>, FrameError> {
    let length = u32::from_le_bytes(length);
    if length > LONGEST {
        return Err(FrameError::TooLong(length));
    }
    Ok(vec![0; length as usize])
}

/// Writes one message and flushes.
///
/// # Errors
/// If the message is too long or the pipe is broken.
pub fn write(output: &mut impl Write, message: &impl Message) -> Result<(), FrameError> {
    output.write_all(&encode(message)?)?;
    Ok(output.flush()?)
}

/// Reads one message; nothing at the end of the stream.
///
/// # Errors
/// If the stream ends within a message, or holds none.
pub fn read<M: Message + Default>(input: &mut impl Read) -> Result<Option<M>, FrameError> {
    let mut length = [0; 4];
    let first = loop {
        match input.read(&mut length[..1]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    input.read_exact(&mut length[1..])?;
    let mut bytes = buffer(length)?;
    input.read_exact(&mut bytes)?;
    Ok(Some(M::decode(bytes.as_slice())?))
}

/// Writes one message and flushes, as a task.
///
/// # Errors
/// As [`write()`].
pub async fn write_async(output: &mut (impl AsyncWrite + Unpin), message: &impl Message) -> Result<(), FrameError> {
    output.write_all(&encode(message)?).await?;
    Ok(output.flush().await?)
}

/// Reads one message, as a task; nothing at the end of the stream.
///
/// # Errors
/// As [`read`].
pub async fn read_async<M: Message + Default>(input: &mut (impl AsyncRead + Unpin)) -> Result<Option<M>, FrameError> {
    let mut length = [0; 4];
    if input.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    input.read_exact(&mut length[1..]).await?;
    let mut bytes = buffer(length)?;
    input.read_exact(&mut bytes).await?;
    Ok(Some(M::decode(bytes.as_slice())?))
}

#[cfg(test)]
mod tests {
    use secateur_proto::v1::Progress;

    use super::*;

    #[test]
    fn messages_pass_and_a_cut_or_a_lie_is_an_error() {
        let message = Progress { stage_key: "key".into(), epoch: 3, epochs: 10, ..Progress::default() };
        let mut bytes = Vec::new();
        write(&mut bytes, &message).expect("writes");
        assert_eq!(read(&mut bytes.as_slice()).expect("reads"), Some(message));
        assert_eq!(read::<Progress>(&mut [].as_slice()).expect("reads"), None);
        assert!(read::<Progress>(&mut &bytes[..bytes.len() - 1]).is_err());
        assert!(matches!(read::<Progress>(&mut [0xff; 8].as_slice()), Err(FrameError::TooLong(_))));
    }
}
