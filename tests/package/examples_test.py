# SPDX-License-Identifier: Apache-2.0
"""The examples of this build, each client against its server."""
import unittest

import programs

FOLDER = programs.BINARY / "examples" / "bin"


class Examples(unittest.TestCase):
    def setUp(self):
        self.certificates = programs.make_certificates()
        self.addCleanup(self.certificates.cleanup)

    def test_greeter(self):
        programs.greet_with(FOLDER, self.certificates.name)

    def test_streaming_of_all_three_kinds(self):
        programs.count_with(FOLDER, self.certificates.name)

    def test_mutual_tls_shows_the_peers_certificate(self):
        programs.authenticate_with(FOLDER, self.certificates.name)

    def test_a_server_is_called_by_reflection(self):
        programs.reflect_with(FOLDER, self.certificates.name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
