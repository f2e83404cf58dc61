//! Jute, the encoding of ZooKeeper's protocol: big-endian numbers; strings and lists preceded by their length.

use crate::code::Code;

/// Reads the fields of a request.
pub(crate) struct Reader<'a>(&'a [u8]);

/// A malformed field is answered with the server's error code.
type Read<T> = Result<T, Code>;

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(Code::MarshallingError)?;
        self.0 = tail;
        Ok(*head)
    }

    pub(crate) fn bool(&mut self) -> Read<bool> {
        Ok(self.take::<1>()? != [0])
    }

    pub(crate) fn i32(&mut self) -> Read<i32> {
        self.take().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Read<i64> {
        self.take().map(i64::from_be_bytes)
    }

    /// Reads bytes. The length -1 (none) counts as empty.
    pub(crate) fn buffer(&mut self) -> Read<&'a [u8]> {
        let len = usize::try_from(self.i32()?).unwrap_or(0);
        let (head, tail) = self.0.split_at_checked(len).ok_or(Code::MarshallingError)?;
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn string(&mut self) -> Read<String> {
        String::from_utf8(self.buffer()?.to_vec()).map_err(|_| Code::MarshallingError)
    }

    pub(crate) fn strings(&mut self) -> Read<Vec<String>> {
        (0..self.i32()?).map(|_| self.string()).collect()
    }

    /// Skips a list of `(permissions, scheme, id)`.
    pub(crate) fn skip_acl(&mut self) -> Read<()> {
        for _ in 0..self.i32()? {
            self.i32()?;
            self.string()?;
            self.string()?;
        }
        Ok(())
    }
}

/// Writes the fields of a reply.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn bool(&mut self, value: bool) -> &mut Self {
        self.0.push(u8::from(value));
        self
    }

    pub(crate) fn i32(&mut self, value: i32) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn i64(&mut self, value: i64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn buffer(&mut self, value: &[u8]) -> &mut Self {
        self.i32(i32::try_from(value.len()).expect("less than 2 GiB"));
        self.0.extend_from_slice(value);
        self
    }

    pub(crate) fn strings<'s>(&mut self, values: impl ExactSizeIterator<Item = &'s String>) -> &mut Self {
        self.i32(i32::try_from(values.len()).expect("fewer than 2^31 nodes"));
        for value in values {
            self.buffer(value.as_bytes());
        }
        self
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The bytes preceded by their length, as sent.
    pub(crate) fn into_frame(self) -> Vec<u8> {
        let mut frame = Self::default();
        frame.buffer(&self.0);
        frame.0
    }
}
