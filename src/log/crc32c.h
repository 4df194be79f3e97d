#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace freshet::log {

/// CRC32C (Castagnoli) of `bytes`, going on from the `crc` of what stands before them; 0 to begin.
///
/// Uses the processor's own instruction where it has one, a table elsewhere; both give the same.
/// Source: RFC 3720, appendix B.4 (check value of "123456789": 0xE3069283).
uint32_t Crc32c(std::span<const std::byte> bytes, uint32_t crc = 0);

/// The table version, for tests and for processors without the instruction.
uint32_t Crc32cPortable(std::span<const std::byte> bytes, uint32_t crc = 0);

}  // namespace freshet::log
